//! `inspect hsdirs`: the relays that store a service's two descriptors.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use data_encoding::BASE64_NOPAD;
use serde::Serialize;

use crate::ctl::answer::Line;
use crate::ctl::input::read_text;
use crate::ctl::inspect::error::InspectError;
use crate::ctl::inspect::period::Descriptor;
use crate::ctl::moment::Moment;
use crate::proto::onion::address::HsId;
use crate::proto::onion::hsdir::HsDir;
use crate::proto::onion::network::{HsDirParams, NetworkView, Slot};
use crate::proto::onion::ring::Ring;
use crate::tor::consensus;

/// More than any consensus or file of microdescriptors has; the public network's have 3 and 20 MiB.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance inspect hsdirs --consensus cached-microdesc-consensus --microdescs cached-microdescs \\
    --address ADDRESS.onion")]
pub struct Question {
    /// Tor's cached-microdesc-consensus, or `GETINFO dir/status-vote/current/consensus-microdesc`
    #[arg(long, value_name = "FILE")]
    consensus: PathBuf,
    /// Tor's cached-microdescs (with cached-microdescs.new), or `GETINFO md/all`
    #[arg(long, value_name = "FILE")]
    microdescs: PathBuf,
    /// The onion address
    #[arg(long, value_name = "ADDRESS")]
    address: HsId,
    /// A time near the consensus', as 2026-11-24T12:00:00Z or in Unix seconds; the consensus' own, if not given
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// The network is a testing one (`TestingTorNetwork 1`): a time period lasts 24 voting intervals
    #[arg(long)]
    testing_network: bool,
}

/// The responsible HSDirs of both descriptors.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The onion address.
    address: HsId,
    /// The consensus' time, or the time asked about.
    valid_after: Moment,
    /// How many HSDirs the ring has.
    hsdirs: usize,
    /// The consensus' parameters.
    params: HsDirParams,
    /// First and second.
    descriptors: [Stored; 2],
}

/// One descriptor and where it is stored.
#[derive(Debug, Serialize)]
struct Stored {
    /// Its period and keys.
    #[serde(flatten)]
    descriptor: Descriptor,
    /// The shared random value of its ring, in base 64.
    shared_random: String,
    /// For each replica its HSDirs, nearest first.
    replicas: Vec<Vec<Place>>,
}

/// One responsible HSDir.
#[derive(Debug, Serialize)]
struct Place {
    /// Its RSA identity.
    fingerprint: String,
    /// Its Ed25519 identity, in base 64.
    ed25519_id: String,
    /// Whether clients look here; the others are spares.
    clients_ask_it: bool,
}

impl Question {
    /// Reads both files and walks both rings.
    pub fn answer(&self) -> Result<Answer, InspectError> {
        let view = self.view()?;
        let [first, second] = view.slots();
        Ok(Answer {
            address: self.address,
            valid_after: Moment::from_unix_secs(view.valid_after),
            hsdirs: view.hsdirs.len(),
            params: view.params,
            descriptors: [self.stored(&view, &first)?, self.stored(&view, &second)?],
        })
    }

    /// The network at the time asked about.
    fn view(&self) -> Result<NetworkView, InspectError> {
        let consensus = read_text(&self.consensus, MAX_DOCUMENT_BYTES)?;
        let microdescs = read_text(&self.microdescs, MAX_DOCUMENT_BYTES)?;
        let mut view = consensus::parse(&consensus, &microdescs, self.testing_network)
            .map_err(|source| InspectError::Consensus { path: self.consensus.clone(), source })?;
        if view.hsdirs.is_empty() {
            return Err(InspectError::NoHsDirs { microdescs: self.microdescs.clone() });
        }
        if let Some(at) = self.at {
            let from = view.srv_run_start();
            let until = from.saturating_add(view.srv_run_secs());
            if !(from..until).contains(&at.unix_secs()) {
                let [from, until] = [from, until].map(Moment::from_unix_secs);
                return Err(InspectError::OtherRun { at, from, until });
            }
            // The consensus that will be, or was, the live one then.
            view.valid_after = at.unix_secs() - (at.unix_secs() - from) % view.voting_interval_secs;
        }
        Ok(view)
    }

    /// Where the descriptor of one slot is stored.
    fn stored(&self, view: &NetworkView, slot: &Slot) -> Result<Stored, InspectError> {
        let blinded = self.address.blind(slot.period)?;
        let ring = Ring::new(view, slot);
        let asked = ring.asked_by_clients(&blinded).concat();
        let place = |dir: &HsDir| Place {
            fingerprint: dir.fingerprint(),
            ed25519_id: BASE64_NOPAD.encode(&dir.ed_id),
            clients_ask_it: slot.client_fetches && asked.contains(dir),
        };
        Ok(Stored {
            descriptor: Descriptor::new(&self.address, view, slot)?,
            shared_random: slot.srv.to_string(),
            replicas: ring
                .responsible(&blinded)
                .iter()
                .map(|replica| replica.iter().map(place).collect())
                .collect(),
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Line("address", self.address))?;
        writeln!(f, "{}", Line("consensus of", self.valid_after))?;
        write!(f, "{}", Line("HSDirs", self.hsdirs))?;
        for stored in &self.descriptors {
            write!(f, "\n\n{}", stored.descriptor)?;
            write!(f, "\n  {}", Line("shared random", &stored.shared_random))?;
            for (number, replica) in stored.replicas.iter().enumerate() {
                write!(f, "\n  replica {}", number + 1)?;
                for place in replica {
                    let asked = if place.clients_ask_it { "  clients ask it" } else { "" };
                    write!(f, "\n    {} {}{asked}", place.fingerprint, place.ed25519_id)?;
                }
            }
        }
        Ok(())
    }
}
