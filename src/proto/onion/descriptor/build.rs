//! Building a descriptor, shaped exactly as C tor shapes its own: field order, padding, fillers, certificates that
//! expire on the hour, and keys that stay the same for a whole period.

use data_encoding::HEXUPPER;
use rand::CryptoRng;
use thiserror::Error;

use crate::proto::onion::blinding::{HsBlindKeypair, Subcredential};
use crate::proto::onion::certificate::{Certificate, LIFETIME_SECS, expiry_hour};
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::descriptor::build_keys::{self, AuthSection};
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::client_auth::{ClientKey, Cookie};
use crate::proto::onion::descriptor::encryption::{self, Layer, LayerSecrets, SALT_LEN};
use crate::proto::onion::descriptor::inner::{self, MAX_INTRO_POINTS};
use crate::proto::onion::descriptor::intro_point::{IntroPoint, IntroPointError};
use crate::proto::onion::descriptor::middle::Middle;
use crate::proto::onion::descriptor::outer::{self, DESCRIPTOR_TOO_LONG};

/// Tor's `HS_DESC_DEFAULT_LIFETIME`: how long an HSDir keeps a descriptor, in minutes.
const LIFETIME_MINUTES: u16 = 180;
/// Most clients that are tried to fit. Their lines alone would fill three quarters of a descriptor, so more cannot
/// fit; the limit spares the work of finding that out one key agreement at a time.
pub const MAX_CLIENTS: usize = 384;

/// All that goes into a descriptor.
#[derive(Debug, Clone, Copy)]
pub struct DescriptorBuilder<'a> {
    /// The service's secret key of the period.
    pub blind: &'a HsBlindKeypair,
    /// The sub-credential that belongs to it.
    pub subcredential: Subcredential,
    /// Must be greater than that of every descriptor published before in this period.
    pub counter: RevisionCounter,
    /// At least one, at most [`MAX_INTRO_POINTS`], no relay twice.
    pub points: &'a [IntroPoint],
    /// Clients who may read it; none means everybody who knows the address.
    pub clients: &'a [ClientKey],
    /// What every node behind these points can do ([`Capabilities::common`]).
    pub capabilities: Capabilities,
    /// The time of day, in unix seconds; certificates last 54 hours from here.
    pub now_unix_secs: u64,
}

/// Why no descriptor was built. Nothing was signed that could be published; what is published stays valid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A descriptor without introduction points would take the service off the network.
    #[error("no introduction points")]
    NoPoints,
    /// Clients of C tor refuse a descriptor with more points as a whole; select fewer.
    #[error("{0} introduction points, clients refuse more than {MAX_INTRO_POINTS}")]
    TooManyPoints(usize),
    /// A client takes the first point of a relay only; a second one may hide a living point behind a dead one.
    #[error("two introduction points at relay {0}")]
    DuplicateRelay(String),
    /// A point that no client could use; leave it out.
    #[error("introduction point {index} (counted from 0)")]
    Point {
        /// Which one, counted from 0.
        index: usize,
        /// What is wrong with it.
        source: IntroPointError,
    },
    /// The encryption key of a point is no x25519 key, so it cannot be certified; leave the point out.
    #[error("encryption key of introduction point {0} (counted from 0) is not on the curve")]
    EncKey(usize),
    /// So many clients that the descriptor cannot be short enough.
    #[error("{0} authorised clients do not fit into a descriptor (at most {MAX_CLIENTS} are tried)")]
    TooManyClients(usize),
    /// The key of a client gives no secrecy; remove it.
    #[error("key of authorised client {0} (counted from 0) is of small order")]
    WeakClientKey(usize),
    /// No HSDir would take the result; use fewer points or clients.
    #[error("descriptor of {0} bytes, HSDirs refuse {DESCRIPTOR_TOO_LONG} bytes or more")]
    TooLong(usize),
}

impl DescriptorBuilder<'_> {
    /// Builds, encrypts and signs. `rng` gives the two salts; everything else follows from the keys, so that all
    /// nodes of a service write descriptors that look as if one tor wrote them.
    pub fn build(&self, rng: &mut impl CryptoRng) -> Result<String, BuildError> {
        self.check()?;
        let signer = build_keys::signing_key(self.blind);
        let auth = AuthSection::derive(self.blind, &self.subcredential, self.clients);
        // Tor counts introduction points' 54 hours from the hour that has begun, the descriptor's from now.
        let intro_hour = expiry_hour(self.now_unix_secs / 3600 * 3600, LIFETIME_SECS);
        let text =
            inner::write(&self.capabilities, self.points, &signer, intro_hour).map_err(BuildError::EncKey)?;

        let blind_id = self.blind.id();
        let secrets = LayerSecrets {
            blind_id: &blind_id,
            subcredential: &self.subcredential,
            counter: self.counter,
            cookie: None,
        };
        let with_cookie = LayerSecrets { cookie: auth.cookie.as_ref().map(Cookie::as_bytes), ..secrets };
        let encrypted = encryption::seal(Layer::Inner, with_cookie, &salt(rng), &text);
        let middle = Middle { ephemeral_key: auth.ephemeral_key, clients: auth.lines, encrypted };
        let superencrypted = encryption::seal(Layer::Middle, secrets, &salt(rng), &middle.write());

        let certificate = Certificate::for_desc_signing_key(
            self.blind,
            &signer.public(),
            expiry_hour(self.now_unix_secs, LIFETIME_SECS),
        );
        let text = outer::write(LIFETIME_MINUTES, self.counter, &certificate, &superencrypted, &signer);
        if text.len() < DESCRIPTOR_TOO_LONG { Ok(text) } else { Err(BuildError::TooLong(text.len())) }
    }

    fn check(&self) -> Result<(), BuildError> {
        match self.points.len() {
            0 => return Err(BuildError::NoPoints),
            1..=MAX_INTRO_POINTS => {}
            more => return Err(BuildError::TooManyPoints(more)),
        }
        if self.clients.len() > MAX_CLIENTS {
            return Err(BuildError::TooManyClients(self.clients.len()));
        }
        if let Some(weak) = self.clients.iter().position(ClientKey::is_weak) {
            return Err(BuildError::WeakClientKey(weak));
        }
        let mut relays = Vec::with_capacity(self.points.len());
        for (index, point) in self.points.iter().enumerate() {
            point.check().map_err(|source| BuildError::Point { index, source })?;
            let relay = point.relay_id();
            if relays.contains(&relay) {
                return Err(BuildError::DuplicateRelay(HEXUPPER.encode(&relay.unwrap_or_default())));
            }
            relays.push(relay);
        }
        Ok(())
    }
}

fn salt(rng: &mut impl CryptoRng) -> [u8; SALT_LEN] {
    let mut salt = [0; SALT_LEN];
    rng.fill_bytes(&mut salt);
    salt
}
