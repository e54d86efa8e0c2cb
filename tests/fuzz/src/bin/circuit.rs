//! What tor says about a client's circuit, in front of its bytes: cut anywhere it is the same or not known yet, a line that is
//! read is tor's own, and no circuit ever gets more than its limits allow.
// max_len=1024
#![no_main]

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use rustbalance::proto::circuit::limiter::{CircuitLimits, Limiter, MOST_CIRCUITS, Verdict};
use rustbalance::proto::circuit::line::{CircuitId, Line, MAX_LINE_BYTES, read};

const LIMITS: CircuitLimits = CircuitLimits { per_second: 3, burst: 4, connections: 2, refusals: 5 };

rustbalance_fuzz::target!(|data: &[u8]| {
    let whole = read(data);
    for cut in 0..data.len().min(MAX_LINE_BYTES) {
        match read(&data[..cut]) {
            Line::More => {}
            decided => assert_eq!(decided, whole, "cut at {cut}"),
        }
    }
    if let Line::Whole(CircuitId(number), length) = whole {
        assert!(length <= MAX_LINE_BYTES && data[length - 1] == b'\n');
        let line = String::from_utf8_lossy(&data[..length]).into_owned();
        let address: Option<Ipv6Addr> = line.split(' ').nth(2).and_then(|address| address.parse().ok());
        let Some(address) = address else { panic!("read, and has no address: {line}") };
        assert_eq!(address.to_bits() & 0xffff_ffff, u128::from(number), "{line}");
    }
    // Each byte: which of sixteen circuits, what it wants, and how long after the one before.
    let (start, mut limiter, mut ms) = (Instant::now(), Limiter::new(LIMITS), 0);
    let mut passed = [0_u64; 16];
    let mut open = [0_u32; 16];
    for byte in data {
        let circuit = usize::from(byte & 15);
        let id = CircuitId(u32::from(byte & 15));
        ms += u64::from(byte >> 6) * 40;
        let now = start + Duration::from_millis(ms);
        let verdict = match byte >> 4 & 3 {
            0 | 1 => limiter.request(now, id),
            2 => {
                let verdict = limiter.begin(now, id);
                open[circuit] += u32::from(verdict == Verdict::Pass);
                verdict
            }
            _ => {
                if open[circuit] > 0 {
                    open[circuit] -= 1;
                    limiter.end(id);
                }
                continue;
            }
        };
        passed[circuit] += u64::from(verdict == Verdict::Pass);
        assert!(open[circuit] <= LIMITS.connections);
        assert!(passed[circuit] * 1000 <= 4000 + 3 * ms, "{passed:?} after {ms} ms");
        assert!(limiter.len() <= MOST_CIRCUITS);
    }
});
