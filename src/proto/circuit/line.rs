//! Which circuit a client came over, as tor says in front of its bytes (`HiddenServiceExportCircuitID haproxy`).
//!
//! ```text
//! PROXY TCP6 fc00:dead:beef:4dad::AAAA:BBBB ::1 SOURCE-PORT VIRTUAL-PORT\r\n
//! ```
//!
//! Version 1 of the PROXY protocol of `HAProxy` (its section 2.1), with an address that is none: its last 32 bits are tor's number
//! of the circuit. The number means something to this tor only, and to it only as long as the circuit lasts; it says
//! nothing about who is at its other end.

use std::net::Ipv6Addr;

/// Longest line of the protocol's version 1, its end included.
pub const MAX_LINE_BYTES: usize = 107;
/// What every line begins with.
const BEGIN: &[u8] = b"PROXY TCP6 ";
/// What tor puts in front of a circuit's number.
const PREFIX: [u16; 6] = [0xfc00, 0xdead, 0xbeef, 0x4dad, 0, 0];

/// A circuit of one tor, by tor's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitId(pub u32);

/// What can be said of the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It may become a line; more is needed.
    More,
    /// It is one, of this circuit, and so many bytes long.
    Whole(CircuitId, usize),
    /// It is none of tor's. What connects here is not tor, or tor does not say which circuit.
    Other,
}

/// Reads the line at the beginning of a connection.
pub fn read(bytes: &[u8]) -> Line {
    let begin = bytes.len().min(BEGIN.len());
    if bytes[..begin] != BEGIN[..begin] {
        return Line::Other;
    }
    let within = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if within.len() < MAX_LINE_BYTES { Line::More } else { Line::Other };
    };
    match circuit(&within[..end]) {
        Some(circuit) => Line::Whole(circuit, end + 1),
        None => Line::Other,
    }
}

/// The circuit in a line without its last byte.
fn circuit(line: &[u8]) -> Option<CircuitId> {
    let rest = str::from_utf8(line.strip_prefix(BEGIN)?.strip_suffix(b"\r")?).ok()?;
    let mut words = rest.split(' ');
    let source: Ipv6Addr = words.next()?.parse().ok()?;
    let _target: Ipv6Addr = words.next()?.parse().ok()?;
    let (_source_port, _virtual_port) = (port(words.next()?)?, port(words.next()?)?);
    let [prefix @ .., high, low] = source.segments();
    let whole = words.next().is_none() && prefix == PREFIX;
    whole.then_some(CircuitId(u32::from(high) << 16 | u32::from(low)))
}

/// A port as the protocol writes it: digits without a sign.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "PROXY TCP6 fc00:dead:beef:4dad::1:2a ::1 42 80\r\n";

    #[test]
    fn tors_line_is_read_in_whatever_pieces_it_comes() {
        let bytes = format!("{LINE}GET / HTTP/1.1\r\n");
        for cut in 0..bytes.len() {
            let expected =
                if cut < LINE.len() { Line::More } else { Line::Whole(CircuitId(0x1_002a), LINE.len()) };
            assert_eq!(read(&bytes.as_bytes()[..cut]), expected, "{cut}");
        }
        let all = LINE.replace("1:2a", "ffff:ffff");
        assert!(matches!(read(all.as_bytes()), Line::Whole(CircuitId(u32::MAX), _)));
    }

    #[test]
    fn everything_else_is_none() {
        for other in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
            "PROXY UNKNOWN\r\n",
            "PROXY TCP6 ::1 ::1 1 2\r\n",
            "PROXY TCP6 fc00:dead:beef:4dad:0:1:1:2 ::1 1 2\r\n",
            &LINE.replace("\r\n", "\n"),
            &LINE.replace(" 80", ""),
            &LINE.replace(" 80", " 80 1"),
            &LINE.replace(" 80", "  80"),
            &LINE.replace("80", "+80"),
            &LINE.replace("80", "65536"),
            &LINE.replace("::1 ", "::g "),
            &LINE.replace("80", &"0".repeat(MAX_LINE_BYTES)),
        ] {
            assert_eq!(read(other.as_bytes()), Line::Other, "{other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[BEGIN, &bytes].concat());
        }
    }
}
