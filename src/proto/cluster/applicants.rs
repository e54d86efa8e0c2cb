//! Who asks to be let in, until that is settled.

use std::time::{Duration, Instant};

use super::note::Admission;
use super::record::MAX_NODES;

/// How long an admission is known to the others before its node is told: of two uses of one ticket on two nodes, each has
/// heard of the other's by then, and only one is welcomed.
pub const ADMISSION_SETTLE: Duration = Duration::from_millis(500);

/// A request under way.
#[derive(Debug)]
pub struct Applicant {
    /// Under which number it is answered.
    pub number: u64,
    /// What was noted.
    pub admission: Admission,
    answer_at: Instant,
}

/// The requests under way, at most as many as the cluster may have nodes.
#[derive(Debug, Default)]
pub struct Applicants(Vec<Applicant>);

impl Applicants {
    /// Whether one more can wait.
    pub fn has_room(&self) -> bool {
        self.0.len() < MAX_NODES
    }

    /// Lets a request wait for its answer.
    pub fn add(&mut self, now: Instant, number: u64, admission: Admission) {
        self.0.push(Applicant { number, admission, answer_at: now + ADMISSION_SETTLE });
    }

    /// Those that must be answered now.
    pub fn due(&mut self, now: Instant) -> Vec<Applicant> {
        self.0.extract_if(.., |applicant| now >= applicant.answer_at).collect()
    }

    /// When [`Applicants::due`] has somebody next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|applicant| applicant.answer_at).min()
    }
}
