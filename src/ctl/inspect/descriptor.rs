//! `inspect descriptor`: verifies a descriptor as a client does, and shows all that is in it.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::ctl::answer::Line;
use crate::ctl::input::{read_secret, read_text};
use crate::ctl::inspect::error::InspectError;
use crate::ctl::inspect::period::Descriptor;
use crate::ctl::inspect::point::Point;
use crate::ctl::inspect::schedule::Schedule;
use crate::ctl::moment::Moment;
use crate::proto::onion::address::HsId;
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::descriptor::client_auth::{ClientKeyError, ClientSecretKey};
use crate::proto::onion::descriptor::hsdesc::Opened;
use crate::proto::onion::descriptor::outer::{Outer, VerifiedOuter};
use crate::proto::onion::identity::MAX_KEY_BYTES;

/// Twice what HSDirs accept, so that a descriptor somewhat too long is called so.
const MAX_DOCUMENT_BYTES: usize = 100_000;

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance inspect descriptor descriptor.txt --address ADDRESS.onion
  rustbalance inspect descriptor - --address ADDRESS.onion --at 2026-11-24T12:00:00Z < descriptor.txt")]
pub struct Question {
    /// The descriptor, as `HSFETCH` and HSDirs give it; - reads it from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The onion address it should be of
    #[arg(long, value_name = "ADDRESS")]
    address: HsId,
    /// A file with a client's secret key (tor's `.auth_private`), if the service authorises clients
    #[arg(long, value_name = "KEY_FILE")]
    client_key: Option<PathBuf>,
    #[command(flatten)]
    schedule: Schedule,
}

/// All that is in a descriptor.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The onion address.
    address: HsId,
    /// The time it was judged at.
    at: Moment,
    /// Its length in bytes.
    bytes: usize,
    /// Its period and keys.
    #[serde(flatten)]
    descriptor: Descriptor,
    /// Orders the descriptors of the period.
    revision_counter: RevisionCounter,
    /// How long an HSDir keeps it.
    lifetime_minutes: u16,
    /// The descriptor signing key, in hexadecimal.
    signing_key: String,
    /// When the certificate of that key expires.
    signing_key_expires: Moment,
    /// Lines for authorised clients, fillers included.
    client_lines: usize,
    /// Whether only authorised clients can read it: a client's key was needed, and fitted.
    clients_authorised: bool,
    /// The arguments of the `flow-control` line.
    flow_control: Option<String>,
    /// Whether the service says that it is not anonymous.
    single_onion: bool,
    /// The arguments of the `pow-params` lines.
    pow_params: Vec<String>,
    /// The introduction points.
    introduction_points: Vec<Point>,
}

impl Question {
    /// Reads, verifies and opens the descriptor.
    pub fn answer(&self) -> Result<Answer, InspectError> {
        let text = read_text(&self.file, MAX_DOCUMENT_BYTES)?;
        let client = self.client_key()?;
        let at = self.schedule.moment();
        let outer = Outer::parse(&text)
            .and_then(|outer| outer.verify(at.unix_secs()))
            .map_err(|source| InspectError::Outer { at, source })?;
        let network = self.schedule.network();
        let slots = network.slots();
        let (period, opened) = outer
            .open(&self.address, &slots.map(|slot| slot.period), client.as_ref())
            .map_err(|source| InspectError::Open { at, source })?;
        let [first, second] = &slots;
        let slot = if first.period == period { first } else { second };
        let descriptor = Descriptor::new(&self.address, &network, slot)?;
        Ok(self.describe(text.len(), descriptor, &outer, &opened))
    }

    /// The client's key, if there is one.
    fn client_key(&self) -> Result<Option<ClientSecretKey>, InspectError> {
        let Some(path) = &self.client_key else { return Ok(None) };
        let bytes = read_secret(path, MAX_KEY_BYTES)?;
        let key = str::from_utf8(&bytes).map_err(|_| ClientKeyError::Form).and_then(str::parse);
        key.map(Some).map_err(|source| InspectError::ClientKey { path: path.clone(), source })
    }

    /// Puts the answer together.
    fn describe(
        &self,
        bytes: usize,
        descriptor: Descriptor,
        outer: &VerifiedOuter,
        opened: &Opened,
    ) -> Answer {
        Answer {
            address: self.address,
            at: Moment::from_unix_secs(outer.verified_at),
            bytes,
            descriptor,
            revision_counter: outer.counter,
            lifetime_minutes: outer.lifetime_minutes,
            signing_key: HEXLOWER.encode(&outer.signing_key),
            signing_key_expires: Moment::from_unix_secs(outer.signing_cert_expires_at),
            client_lines: opened.client_lines,
            clients_authorised: opened.used_client_key,
            flow_control: opened.capabilities.flow_control.map(|line| line.to_string()),
            single_onion: opened.capabilities.single_onion,
            pow_params: opened.pow_params.clone(),
            introduction_points: opened.points.iter().map(Point::new).collect(),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "well signed and complete, as of {}\n", self.at)?;
        writeln!(f, "{}", Line("address", self.address))?;
        writeln!(f, "{}", Line("bytes", self.bytes))?;
        writeln!(f, "{}", Line("revision counter", self.revision_counter.0))?;
        writeln!(f, "{}", Line("lifetime", format_args!("{} minutes", self.lifetime_minutes)))?;
        writeln!(f, "{}", Line("signing key", &self.signing_key))?;
        writeln!(f, "{}", Line("certified until", self.signing_key_expires))?;
        let clients = if self.clients_authorised { "authorised ones only" } else { "all" };
        writeln!(f, "{}", Line("clients", format_args!("{clients} ({} lines)", self.client_lines)))?;
        writeln!(f, "{}", Line("flow control", self.flow_control.as_deref().unwrap_or("none")))?;
        if self.single_onion {
            writeln!(f, "{}", Line("anonymity", "none: single-onion-service"))?;
        }
        for params in &self.pow_params {
            writeln!(f, "{}", Line("proof of work", params))?;
        }
        write!(f, "\n{}\n\n{} introduction points", self.descriptor, self.introduction_points.len())?;
        for point in &self.introduction_points {
            write!(f, "\n{point}")?;
        }
        Ok(())
    }
}
