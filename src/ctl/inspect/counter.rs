//! `inspect counter`: the revision counters tor itself would publish with.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ctl::answer::Line;
use crate::ctl::input::read_key;
use crate::ctl::inspect::error::InspectError;
use crate::ctl::inspect::period::slot_name;
use crate::ctl::inspect::schedule::Schedule;
use crate::ctl::moment::Moment;
use crate::proto::onion::address::HsId;
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::network::SlotKind;

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance inspect counter --key /etc/rustbalance/hs_ed25519_secret_key --at 2026-11-24T12:00:00Z")]
pub struct Question {
    /// The secret key, in any of the forms of `inspect address`
    #[arg(long, value_name = "KEY_FILE")]
    key: PathBuf,
    #[command(flatten)]
    schedule: Schedule,
}

/// The counters of both descriptors at a moment.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The onion address.
    address: HsId,
    /// The moment asked about.
    at: Moment,
    /// First and second.
    descriptors: [Counter; 2],
}

/// The counter of one descriptor.
#[derive(Debug, Serialize)]
struct Counter {
    /// First (tor's current) or second (tor's next).
    #[serde(rename = "descriptor")]
    which: SlotKind,
    /// The number of the time period.
    period: u64,
    /// From when on the seconds are counted.
    epoch: Moment,
    /// The revision counter, tor's order-preserving encryption of the seconds.
    #[serde(rename = "revision_counter")]
    value: RevisionCounter,
}

impl Question {
    /// Computes the answer.
    pub fn answer(&self) -> Result<Answer, InspectError> {
        let key = read_key(&self.key)?;
        let at = self.schedule.moment();
        let [first, second] = self.schedule.network().slots().map(|slot| {
            Ok(Counter {
                which: slot.which,
                period: slot.period.num,
                epoch: Moment::from_unix_secs(slot.counter_epoch),
                value: RevisionCounter::at(&key.blind(slot.period)?, slot.counter_epoch, at.unix_secs()),
            })
        });
        let descriptors = [first.map_err(InspectError::Blind)?, second.map_err(InspectError::Blind)?];
        Ok(Answer { address: key.hs_id(), at, descriptors })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Line("address", self.address))?;
        write!(f, "{}", Line("at", self.at))?;
        for counter in &self.descriptors {
            write!(f, "\n\n{}", slot_name(counter.which))?;
            write!(f, "\n  {}", Line("period", counter.period))?;
            write!(f, "\n  {}", Line("counts from", counter.epoch))?;
            write!(f, "\n  {}", Line("revision counter", counter.value.0))?;
        }
        Ok(())
    }
}
