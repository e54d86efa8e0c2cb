//! What can be told of a node's health. Its JSON is an interface: keys may be added, not renamed.

use serde::{Deserialize, Serialize};

use super::vitals::Vitals;

/// The health of a node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// What was observed last.
    pub vitals: Vitals,
    /// What fails, the most urgent first.
    pub complaints: Vec<Complaint>,
    /// Whether this node was made to stop serving, as it was useless to clients.
    pub fenced: bool,
    /// Remedies tried since each part was last calm, by the part's name; parts without one are left out.
    pub tried: Vec<Tried>,
    /// Remedies tried since the start.
    pub remedies_total: u64,
    /// What has happened lately, the latest last.
    pub past: Vec<Deed>,
}

/// One failure, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Its name, as metrics have it.
    pub failure: String,
    /// The part that fails, as metrics have it, if it is one.
    pub part: Option<String>,
    /// For how long, in seconds.
    pub lasts_secs: u64,
    /// How far its treatment is.
    pub stage: Stage,
    /// All of this for people: what happened, what follows, what is done, what to do.
    pub text: String,
}

/// How far a failure's treatment is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing that can be done here helps, or all of it was tried. Somebody must look.
    Alarm,
    /// A remedy was tried, or will be as soon as the last one has had its time.
    Treated,
    /// It has not lasted long enough to be one.
    Suspected,
    /// It follows from another failure, and goes with that one.
    Consequence,
}

/// How much of a part's budget is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The part, as metrics have it.
    pub part: String,
    /// Remedies.
    pub times: u32,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When, Unix time in seconds.
    pub unix_secs: u64,
    /// What, in words.
    pub text: String,
    /// Whether somebody must look.
    pub alarming: bool,
    /// What kind of thing it is.
    pub kind: DeedKind,
    /// The failure that it is about, as metrics have it, if it is one.
    pub failure: Option<String>,
    /// The part that it is about, as metrics have it, if it is one.
    pub part: Option<String>,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeedKind {
    /// Nothing helps against a failure, or nothing more.
    Alarm,
    /// A failure is over.
    Over,
    /// A remedy is tried.
    Remedy,
    /// A remedy could not be tried.
    Refused,
}

impl HealthReport {
    /// Whether somebody must look.
    pub fn alarms(&self) -> bool {
        self.complaints.iter().any(|complaint| complaint.stage == Stage::Alarm)
    }

    /// The health in a line.
    pub fn line(&self) -> String {
        let fenced = if self.fenced { "; does not serve, as other nodes do better" } else { "" };
        match self.complaints.as_slice() {
            [] => format!("all is well{fenced}"),
            [one] => format!("{}{fenced}", one.text),
            [first, others @ ..] => format!("{}; and {} more{fenced}", first.text, others.len()),
        }
    }
}
