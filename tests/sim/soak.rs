//! Many lives, counted.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::life::{Life, live};

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(10);

/// Lives, and what they were.
#[derive(Default)]
struct Tally {
    seeds: AtomicU64,
    millis: AtomicU64,
    broken: AtomicBool,
}

impl Tally {
    /// Lives one life; a broken law ends it all.
    fn count(&self, seed: u64, life: Life) {
        let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, life).now));
        match outcome {
            Ok(lived) => {
                self.seeds.fetch_add(1, Ordering::Relaxed);
                self.millis.fetch_add(u64::try_from(lived.as_millis()).unwrap(), Ordering::Relaxed);
            }
            Err(_) => self.broken.store(true, Ordering::Relaxed),
        }
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    #[allow(clippy::cast_precision_loss)] // far below 2^52
    fn hours(&self) -> f64 {
        self.millis.load(Ordering::Relaxed) as f64 / 3_600_000.0
    }

    fn line(&self, processor: Duration) -> String {
        let (seeds, hours) = (self.seeds.load(Ordering::Relaxed), self.hours());
        let minutes = processor.as_secs_f64() / 60.0;
        format!(
            "{seeds} seeds, {hours:.1} cluster-hours, {:.0} per minute of processor time",
            hours / minutes
        )
    }

    fn end(&self, processor: Duration) -> ExitCode {
        println!("{}", self.line(processor));
        if self.is_broken() {
            println!(
                "A law was broken: the story is above, with its seed. Add the seed to tests/sim/failures.rs."
            );
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// What this process has used.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap())
}

fn threads() -> u64 {
    std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64)
}

/// Long lives for so long.
pub fn soak(time: Duration, from: u64) -> ExitCode {
    let (tally, begin, next) = (Tally::default(), Instant::now(), AtomicU64::new(from));
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while begin.elapsed() < time && !tally.is_broken() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    tally.count(seed, if seed % 4 == 3 { Life::long().slowly() } else { Life::long() });
                }
            });
        }
        let mut shown = begin;
        while begin.elapsed() < time && !tally.is_broken() {
            std::thread::sleep(Duration::from_millis(100));
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                println!("{:4} s: {}", begin.elapsed().as_secs(), tally.line(processor_time()));
            }
        }
    });
    tally.end(processor_time())
}

/// One such life from each of these seeds.
pub fn seeds(seeds: Range<u64>, life: Life) -> ExitCode {
    let (tally, next) = (Tally::default(), AtomicU64::new(seeds.start));
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || tally.is_broken() {
                        return;
                    }
                    tally.count(seed, life);
                }
            });
        }
    });
    tally.end(processor_time())
}

/// Five nodes, on one thread: with a fault now and then, and with one after the other.
pub fn speed() -> ExitCode {
    let lives = [
        ("a fault every few minutes", Life::quiet(), 8),
        ("faults all the time", Life::long(), 8),
        ("a fault every few hours, timing 10/30/90 s", Life::quiet().slowly(), 8),
        ("faults all the time, timing 10/30/90 s", Life::long().slowly(), 8),
    ];
    let mut broken = false;
    for (what, life, seeds) in lives {
        let (tally, before) = (Tally::default(), processor_time());
        (0..seeds).for_each(|seed| tally.count(seed, Life { nodes: Some(5), ..life }));
        println!("five nodes, {what}: {}", tally.line(processor_time().saturating_sub(before)));
        broken |= tally.is_broken();
    }
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
