//! Opening a verified descriptor: middle, cookie, inner.

use thiserror::Error;

use crate::proto::onion::address::HsId;
use crate::proto::onion::blinding::{BlindError, Subcredential};
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::client_auth::{ClientSecretKey, Cookie};
use crate::proto::onion::descriptor::encryption::{self, DecryptError, Layer, LayerSecrets};
use crate::proto::onion::descriptor::inner::{Inner, InnerError};
use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::onion::descriptor::middle::{Middle, MiddleError};
use crate::proto::onion::descriptor::outer::VerifiedOuter;
use crate::proto::onion::period::TimePeriod;

/// What a descriptor holds once both layers are open and every certificate was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The number of `auth-client` lines, fillers included.
    pub client_lines: usize,
    /// Whether a client's key was needed, and fitted.
    pub used_client_key: bool,
    /// What the service says it can do.
    pub capabilities: Capabilities,
    /// The arguments of `pow-params` lines, to be shown; they are never published again.
    pub pow_params: Vec<String>,
    /// The introduction points, in the order of the document. May be none.
    pub points: Vec<IntroPoint>,
    /// When the first of all its certificates expires, in Unix seconds: clients refuse it from then on.
    pub certified_until: u64,
}

/// Why a verified outer document could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The address is not a usable key, so it has no blinded keys.
    #[error(transparent)]
    Address(#[from] BlindError),
    /// The descriptor is this service's, but of another period than asked for: out of date, or ahead of its time.
    #[error("descriptor is of time period {}, which is not wanted", found.num)]
    WrongPeriod {
        /// The period it is of.
        found: TimePeriod,
    },
    /// The descriptor's blinded key is not this service's in any period near: it is another service's.
    #[error("descriptor is signed with the blinded key of another service or of a distant time")]
    WrongBlindedKey,
    /// The middle layer cannot be decrypted.
    #[error("middle layer")]
    MiddleLayer(#[source] DecryptError),
    /// The middle layer was decrypted, but is no middle document.
    #[error("middle document")]
    Middle(#[from] MiddleError),
    /// The inner layer cannot be decrypted without a client's key: the service authorises clients.
    #[error(
        "inner layer cannot be decrypted: the service admits authorised clients only, and no key was given"
    )]
    ClientKeyNeeded,
    /// No client line is for the key given, and without a key the layer does not open either.
    #[error("inner layer cannot be decrypted: the client key given is not among the authorised ones")]
    ClientKeyUnknown,
    /// The inner layer cannot be decrypted for another reason.
    #[error("inner layer")]
    InnerLayer(#[source] DecryptError),
    /// The inner layer was decrypted, but is not an inner document to be used.
    #[error("inner document")]
    Inner(#[from] InnerError),
}

impl VerifiedOuter {
    /// Opens the descriptor of this service if it is of one of the `wanted` periods, which is given back.
    ///
    /// `client` is needed only if the service authorises clients, and does no harm otherwise.
    pub fn open(
        &self,
        service: &HsId,
        wanted: &[TimePeriod],
        client: Option<&ClientSecretKey>,
    ) -> Result<(TimePeriod, Opened), OpenError> {
        let period = self.period(service, wanted)?;
        let subcredential = service.subcredential(&self.blind_id);
        self.open_with(&subcredential, client).map(|opened| (period, opened))
    }

    /// Opens the descriptor with the sub-credential that belongs to its blinded key.
    pub fn open_with(
        &self,
        subcredential: &Subcredential,
        client: Option<&ClientSecretKey>,
    ) -> Result<Opened, OpenError> {
        let secrets =
            LayerSecrets { blind_id: &self.blind_id, subcredential, counter: self.counter, cookie: None };
        let text =
            encryption::open(Layer::Middle, secrets, &self.superencrypted).map_err(OpenError::MiddleLayer)?;
        let middle = Middle::parse(&text)?;
        let cookie = client
            .and_then(|client| client.find_cookie(subcredential, &middle.ephemeral_key, &middle.clients));
        let with_cookie = LayerSecrets { cookie: cookie.as_ref().map(Cookie::as_bytes), ..secrets };
        let text =
            encryption::open(Layer::Inner, with_cookie, &middle.encrypted).map_err(|error| {
                match (error, client, &cookie) {
                    (DecryptError::BadMac, None, _) => OpenError::ClientKeyNeeded,
                    (DecryptError::BadMac, Some(_), None) => OpenError::ClientKeyUnknown,
                    (error, _, _) => OpenError::InnerLayer(error),
                }
            })?;
        let inner = Inner::parse(&text)?;
        Ok(Opened {
            client_lines: middle.clients.len(),
            used_client_key: cookie.is_some(),
            capabilities: inner.capabilities,
            pow_params: inner.pow_params.clone(),
            certified_until: inner
                .certified_until()
                .map_or(self.signing_cert_expires_at, |until| until.min(self.signing_cert_expires_at)),
            points: inner.verify(&self.signing_key, self.verified_at)?,
        })
    }

    /// The one of the wanted periods whose blinded key this is.
    fn period(&self, service: &HsId, wanted: &[TimePeriod]) -> Result<TimePeriod, OpenError> {
        for period in wanted {
            if service.blind(*period)? == self.blind_id {
                return Ok(*period);
            }
        }
        // Only to say what is wrong: the neighbours of the wanted periods.
        for period in wanted.iter().flat_map(|period| [period.previous(), period.next()]) {
            if service.blind(period)? == self.blind_id {
                return Err(OpenError::WrongPeriod { found: period });
            }
        }
        Err(OpenError::WrongBlindedKey)
    }
}
