//! `inspect period`: the two live time periods of a service, with their blinded keys.

use std::fmt;

use clap::Args;
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use serde::Serialize;

use crate::ctl::answer::Line;
use crate::ctl::inspect::error::InspectError;
use crate::ctl::inspect::schedule::Schedule;
use crate::ctl::moment::Moment;
use crate::proto::onion::address::HsId;
use crate::proto::onion::network::{NetworkView, Slot, SlotKind};

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance inspect period --address ADDRESS.onion
  rustbalance inspect period --address ADDRESS.onion --at 2026-11-24T12:00:00Z")]
pub struct Question {
    /// The onion address
    #[arg(long, value_name = "ADDRESS")]
    address: HsId,
    #[command(flatten)]
    schedule: Schedule,
}

/// Both descriptors of a service at a moment.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The onion address.
    address: HsId,
    /// The moment asked about.
    at: Moment,
    /// The consensus assumed: periods are reckoned by its time.
    valid_after: Moment,
    /// First and second.
    descriptors: [Descriptor; 2],
}

/// One of the two descriptors that are live at a moment.
#[derive(Debug, Serialize)]
pub struct Descriptor {
    /// First (tor's current) or second (tor's next).
    #[serde(rename = "descriptor")]
    which: SlotKind,
    /// The number of the time period.
    period: u64,
    /// Its length.
    length_minutes: u64,
    /// When it starts.
    starts: Moment,
    /// When it ends.
    ends: Moment,
    /// Whether clients with this consensus fetch this one.
    clients_fetch_it: bool,
    /// The blinded public key, in hexadecimal.
    blinded_key: String,
    /// The same in base 64, as tor's events name a descriptor.
    blinded_key_base64: String,
    /// The sub-credential, in hexadecimal.
    subcredential: String,
}

impl Question {
    /// Computes the answer.
    pub fn answer(&self) -> Result<Answer, InspectError> {
        let network = self.schedule.network();
        let [first, second] = network.slots();
        Ok(Answer {
            address: self.address,
            at: self.schedule.moment(),
            valid_after: Moment::from_unix_secs(network.valid_after),
            descriptors: [
                Descriptor::new(&self.address, &network, &first)?,
                Descriptor::new(&self.address, &network, &second)?,
            ],
        })
    }
}

impl Descriptor {
    /// The descriptor of one slot.
    pub fn new(address: &HsId, network: &NetworkView, slot: &Slot) -> Result<Self, InspectError> {
        let blinded = address.blind(slot.period)?;
        Ok(Self {
            which: slot.which,
            period: slot.period.num,
            length_minutes: slot.period.length_minutes,
            starts: Moment::from_unix_secs(slot.period.start(network.rotation_offset_secs)),
            ends: Moment::from_unix_secs(slot.period.end(network.rotation_offset_secs)),
            clients_fetch_it: slot.client_fetches,
            blinded_key: HEXLOWER.encode(&blinded.0),
            blinded_key_base64: BASE64_NOPAD.encode(&blinded.0),
            subcredential: HEXLOWER.encode(&address.subcredential(&blinded).0),
        })
    }
}

/// How people read which of the two it is.
pub fn slot_name(which: SlotKind) -> &'static str {
    match which {
        SlotKind::First => "first descriptor (tor's current)",
        SlotKind::Second => "second descriptor (tor's next)",
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fetched = if self.clients_fetch_it { ", the one clients fetch" } else { "" };
        writeln!(f, "{}{fetched}", slot_name(self.which))?;
        let period = format!("{} of {} minutes", self.period, self.length_minutes);
        writeln!(f, "  {}", Line("period", period))?;
        writeln!(f, "  {}", Line("starts", self.starts))?;
        writeln!(f, "  {}", Line("ends", self.ends))?;
        writeln!(f, "  {}", Line("blinded key", &self.blinded_key))?;
        writeln!(f, "  {}", Line("in base 64", &self.blinded_key_base64))?;
        write!(f, "  {}", Line("sub-credential", &self.subcredential))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Line("address", self.address))?;
        writeln!(f, "{}", Line("at", self.at))?;
        writeln!(f, "{}", Line("consensus of", self.valid_after))?;
        let [first, second] = &self.descriptors;
        write!(f, "\n{first}\n\n{second}")
    }
}
