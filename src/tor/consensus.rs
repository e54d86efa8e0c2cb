//! The consensus and the microdescriptors, as tor's control port hands them out (dir-spec, sections 3.3 and 3.4.1).
//! No I/O.
//!
//! ```text
//! GETINFO dir/status-vote/current/consensus-microdesc     times, parameters, shared random values,
//!                                                         relays: RSA identity, flags, protocols, digest ──┐
//! GETINFO md/all                                          microdescriptors: Ed25519 identity; SHA-256 ─────┘
//! ```
//!
//! Signatures are not checked: tor has done so before it hands anything out.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64, BASE64_NOPAD};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::proto::onion::hsdir::HsDir;
use crate::proto::onion::network::{HsDirParams, NetworkView, period_length_minutes, rotation_offset_secs};
use crate::proto::onion::shared_random::SharedRandom;

/// The version of the HSDir protocol that stores version 3 descriptors.
const HSDIR_PROTOCOL: u32 = 2;
/// What a time looks like, with digits for the zeros.
const TIME_MODEL: &str = "0000-00-00 00:00:00";

/// Why a consensus cannot be used. Keep the one before, and ask tor again at the next `NEWCONSENSUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsensusError {
    /// It is another document, or the consensus of another flavour, which lacks what we need.
    #[error("not a microdescriptor consensus (`network-status-version 3 microdesc`)")]
    Flavour,
    /// It has no footer: its end was cut off, and relays with it.
    #[error("the consensus is cut off before its footer")]
    Truncated,
    /// A time is missing or not a time.
    #[error("the consensus has no usable `{keyword}` line")]
    Time {
        /// The keyword of its line.
        keyword: &'static str,
    },
    /// Its times are not in order.
    #[error("the consensus' times are not in order: valid-after, fresh-until, valid-until")]
    TimeOrder,
    /// A relay's `r` line is not one.
    #[error("the consensus has a malformed `r` line, number {line}")]
    Relay {
        /// Its line, counted from 1.
        line: usize,
    },
    /// A shared random value is not one.
    #[error("the consensus has a malformed shared random value")]
    SharedRandom,
}

/// Reads a consensus of the `microdesc` flavour and all microdescriptors. `testing_network` is tor's
/// `TestingTorNetwork`, which changes the length of time periods.
///
/// An HSDir counts only if its microdescriptor is there; tor does not use it otherwise either. `microdescs`
/// may also be tor's file `cached-microdescs`, with annotations.
pub fn parse(
    consensus: &str,
    microdescs: &str,
    testing_network: bool,
) -> Result<NetworkView, ConsensusError> {
    let mut lines = consensus.lines().enumerate().map(|(at, line)| (at + 1, line));
    match lines.next() {
        Some((_, "network-status-version 3 microdesc")) => {}
        _ => return Err(ConsensusError::Flavour),
    }
    let mut header = Header::default();
    let mut relays =
        Relays { ed_ids: ed_ids(microdescs), entry: None, hsdirs: Vec::new(), running: BTreeSet::new() };
    let mut whole = false;
    for (number, line) in lines {
        let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
        match keyword {
            "r" => relays.begin(rest).ok_or(ConsensusError::Relay { line: number })?,
            "m" | "s" | "pr" => relays.describe(keyword, rest),
            "directory-footer" => {
                whole = true;
                break;
            }
            _ => header.take(keyword, rest)?,
        }
    }
    if !whole {
        return Err(ConsensusError::Truncated);
    }
    relays.finish_entry();
    header.into_view(relays, testing_network)
}

/// The lines before the first relay.
#[derive(Default)]
struct Header {
    valid_after: Option<u64>,
    fresh_until: Option<u64>,
    valid_until: Option<u64>,
    srv_current: Option<SharedRandom>,
    srv_previous: Option<SharedRandom>,
    params: HsDirParams,
    hsdir_interval: Option<u64>,
}

impl Header {
    /// Takes one line.
    fn take(&mut self, keyword: &str, rest: &str) -> Result<(), ConsensusError> {
        match keyword {
            "valid-after" => self.valid_after = parse_time(rest),
            "fresh-until" => self.fresh_until = parse_time(rest),
            "valid-until" => self.valid_until = parse_time(rest),
            "shared-rand-current-value" => self.srv_current = Some(parse_shared_random(rest)?),
            "shared-rand-previous-value" => self.srv_previous = Some(parse_shared_random(rest)?),
            "params" => {
                for (name, value) in rest.split(' ').filter_map(|pair| pair.split_once('=')) {
                    self.take_param(name, value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes one parameter; as in tor, a value out of range counts as the nearest one in range.
    fn take_param(&mut self, name: &str, value: &str) {
        let within = |low: u8, high: u8| {
            let value = value.parse::<i32>().ok()?.clamp(low.into(), high.into());
            u8::try_from(value).ok()
        };
        match name {
            "hsdir_n_replicas" => self.params.replicas = within(1, 16).unwrap_or(self.params.replicas),
            "hsdir_spread_store" => {
                self.params.spread_store = within(1, 128).unwrap_or(self.params.spread_store);
            }
            "hsdir_spread_fetch" => {
                self.params.spread_fetch = within(1, 128).unwrap_or(self.params.spread_fetch);
            }
            "hsdir_interval" => {
                let minutes = value.parse::<i32>().ok().map(|minutes| minutes.clamp(5, 14_400));
                self.hsdir_interval = minutes.and_then(|minutes| u64::try_from(minutes).ok());
            }
            _ => {}
        }
    }

    /// Puts everything together.
    fn into_view(self, relays: Relays, testing_network: bool) -> Result<NetworkView, ConsensusError> {
        let valid_after = self.valid_after.ok_or(ConsensusError::Time { keyword: "valid-after" })?;
        let fresh_until = self.fresh_until.ok_or(ConsensusError::Time { keyword: "fresh-until" })?;
        let valid_until = self.valid_until.ok_or(ConsensusError::Time { keyword: "valid-until" })?;
        if !(valid_after < fresh_until && fresh_until <= valid_until) {
            return Err(ConsensusError::TimeOrder);
        }
        let voting_interval_secs = fresh_until - valid_after;
        Ok(NetworkView {
            valid_after,
            fresh_until,
            valid_until,
            voting_interval_secs,
            period_length_minutes: period_length_minutes(
                testing_network,
                voting_interval_secs,
                self.hsdir_interval,
            ),
            rotation_offset_secs: rotation_offset_secs(voting_interval_secs),
            srv_current: self.srv_current,
            srv_previous: self.srv_previous,
            params: self.params,
            hsdirs: relays.hsdirs,
            relays: relays.running,
        })
    }
}

/// The relays, one entry after the other.
struct Relays {
    /// Ed25519 identities by the digest of the microdescriptor.
    ed_ids: BTreeMap<[u8; 32], [u8; 32]>,
    /// The entry being read.
    entry: Option<Entry>,
    hsdirs: Vec<HsDir>,
    running: BTreeSet<[u8; 20]>,
}

/// One relay's entry.
struct Entry {
    rsa_id: [u8; 20],
    /// SHA-256 of its microdescriptor.
    digest: Option<[u8; 32]>,
    /// Flag `HSDir`.
    hsdir_flag: bool,
    /// Flag `Running`.
    running: bool,
    /// Protocol `HSDir=2`.
    stores_v3: bool,
}

impl Relays {
    /// Begins an entry with the rest of its `r` line: `nickname identity date time IP ORPort DirPort`.
    fn begin(&mut self, rest: &str) -> Option<()> {
        self.finish_entry();
        let identity = rest.split(' ').nth(1)?;
        let rsa_id = BASE64_NOPAD.decode(identity.as_bytes()).ok()?.try_into().ok()?;
        self.entry =
            Some(Entry { rsa_id, digest: None, hsdir_flag: false, running: false, stores_v3: false });
        Some(())
    }

    /// Takes another line of an entry.
    fn describe(&mut self, keyword: &str, rest: &str) {
        let Some(entry) = &mut self.entry else { return };
        match keyword {
            "m" => entry.digest = decode_32(&BASE64_NOPAD, rest),
            "s" => {
                for flag in rest.split(' ') {
                    entry.hsdir_flag |= flag == "HSDir";
                    entry.running |= flag == "Running";
                }
            }
            _ => entry.stores_v3 = supports(rest, "HSDir", HSDIR_PROTOCOL),
        }
    }

    /// Ends an entry.
    fn finish_entry(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        if entry.running {
            self.running.insert(entry.rsa_id);
        }
        if entry.hsdir_flag
            && entry.stores_v3
            && let Some(ed_id) = entry.digest.and_then(|digest| self.ed_ids.get(&digest))
        {
            self.hsdirs.push(HsDir { rsa_id: entry.rsa_id, ed_id: *ed_id });
        }
    }
}

/// The Ed25519 identities in microdescriptors, by the digest of the microdescriptor.
fn ed_ids(microdescs: &str) -> BTreeMap<[u8; 32], [u8; 32]> {
    bodies(microdescs)
        .filter_map(|body| {
            let encoded = body.lines().find_map(|line| line.strip_prefix("id ed25519 "))?;
            let ed_id = decode_32(&BASE64_NOPAD, encoded.trim_end_matches('='))?;
            Some((Sha256::digest(body).into(), ed_id))
        })
        .collect()
}

/// Cuts microdescriptors apart. Each begins with a line `onion-key` and goes up to the next one, or to an annotation.
fn bodies(microdescs: &str) -> impl Iterator<Item = &str> {
    let mut rest = microdescs;
    std::iter::from_fn(move || {
        let start = line_start(rest, |line| line.starts_with("onion-key"))?;
        let body = rest.get(start..)?;
        let first_line = body.find('\n').map_or(body.len(), |end| end + 1);
        let length = body
            .get(first_line..)
            .and_then(|after| {
                line_start(after, |line| line.starts_with("onion-key") || line.starts_with('@'))
            })
            .map_or(body.len(), |length| first_line + length);
        let (body, after) = body.split_at_checked(length)?;
        rest = after;
        Some(body)
    })
}

/// Where the first line begins that is as wanted.
fn line_start(text: &str, wanted: impl Fn(&str) -> bool) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if wanted(line) {
            return Some(start);
        }
        start += line.len();
    }
    None
}

/// Whether a list of protocols (`Cons=1-2 HSDir=1,2-3`) has a version of one.
fn supports(protocols: &str, name: &str, version: u32) -> bool {
    let versions = protocols.split(' ').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    versions.is_some_and(|versions| {
        versions.split(',').any(|range| {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            matches!((low.parse::<u32>(), high.parse::<u32>()), (Ok(low), Ok(high)) if (low..=high).contains(&version))
        })
    })
}

/// `2026-11-23 17:12:00` as Unix seconds.
fn parse_time(text: &str) -> Option<u64> {
    let is_as = |(byte, model): (u8, u8)| if model == b'0' { byte.is_ascii_digit() } else { byte == model };
    if text.len() != TIME_MODEL.len() || !text.bytes().zip(TIME_MODEL.bytes()).all(is_as) {
        return None;
    }
    let time: DateTime = text.parse().ok()?;
    let seconds = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(seconds).ok()
}

/// `number-of-reveals value`.
fn parse_shared_random(rest: &str) -> Result<SharedRandom, ConsensusError> {
    let value = rest.split(' ').nth(1).and_then(|value| decode_32(&BASE64, value));
    value.map(SharedRandom).ok_or(ConsensusError::SharedRandom)
}

/// 32 bytes in base 64.
fn decode_32(encoding: &data_encoding::Encoding, text: &str) -> Option<[u8; 32]> {
    encoding.decode(text.as_bytes()).ok()?.try_into().ok()
}
