//! What only the holder of the master key can do: plan, sign, and open the own descriptor.

use secrecy::ExposeSecret;

use crate::config::node::Service;
use crate::config::secret::{Secret, SecretError, Unseal};
use crate::proto::onion::address::HsId;
use crate::proto::onion::blinding::{BlindError, HsBlindId};
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::descriptor::build::{BuildError, DescriptorBuilder};
use crate::proto::onion::descriptor::hsdesc::OpenError;
use crate::proto::onion::descriptor::outer::{Outer, OuterError};
use crate::proto::onion::identity::{HsIdKeypair, KeyError};
use crate::proto::onion::network::NetworkView;
use crate::proto::publish::collect::Reading;
use crate::proto::publish::exchange::Post;
use crate::proto::publish::plan::Plan;

/// The service's identity. It is erased when dropped, and shows its address only.
#[derive(Debug)]
pub struct Identity {
    keypair: HsIdKeypair,
}

/// Why there is no identity to publish with. Nothing was connected or posted.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read or opened, or is open to everybody.
    #[error("service.master_key_file: {0}")]
    Secret(#[from] SecretError),
    /// What was read is no key.
    #[error("service.master_key_file: {key}: {source}")]
    Key {
        /// Where it was read.
        key: Secret,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The key is a good one, but of another service.
    #[error(
        "service.master_key_file holds the key of {found}, but service.address is {configured}; correct either"
    )]
    OtherAddress {
        /// The key's address.
        found: HsId,
        /// The configured one.
        configured: HsId,
    },
}

/// Why a descriptor that tor has of its own service could not be opened. The points known before stay.
#[derive(Debug, thiserror::Error)]
pub enum OwnDescriptorError {
    /// The outer document is wrong.
    #[error(transparent)]
    Outer(#[from] OuterError),
    /// The layers inside cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Identity {
    /// Reads the master key and makes sure that it is the configured service's.
    pub fn load(service: &Service, unseal: Unseal<'_>) -> Result<Self, IdentityError> {
        let bytes = service.master_key_file.read(unseal)?;
        let keypair = HsIdKeypair::from_any_form(bytes.expose_secret())
            .map_err(|source| IdentityError::Key { key: service.master_key_file.clone(), source })?;
        let (found, configured) = (keypair.hs_id(), service.address);
        if found == configured {
            Ok(Self { keypair })
        } else {
            Err(IdentityError::OtherAddress { found, configured })
        }
    }

    /// The address.
    pub fn hs_id(&self) -> HsId {
        self.keypair.hs_id()
    }

    /// What a view of the network means for this service.
    pub fn plan(&self, view: &NetworkView) -> Result<Plan, BlindError> {
        Plan::new(view, &self.keypair)
    }

    /// Builds and signs a descriptor, as tor would at this time.
    pub fn build(&self, post: &Post, unix_secs: u64) -> Result<String, BuildError> {
        let builder = DescriptorBuilder {
            blind: &post.keys,
            subcredential: self.hs_id().subcredential(&post.keys.id()),
            counter: post.counter,
            points: &post.points,
            clients: &[],
            capabilities: post.capabilities,
            now_unix_secs: unix_secs,
        };
        builder.build(&mut rand::rng())
    }

    /// Opens the service's own descriptor as the serving tor hands it out. Its period is whichever it is: tor shows
    /// that of yesterday for half of each day, and the points serve in both.
    pub fn open_own(&self, text: &str, unix_secs: u64) -> Result<Reading, OwnDescriptorError> {
        let outer = Outer::parse(text)?.verify(unix_secs)?;
        let subcredential = self.hs_id().subcredential(&outer.blind_id);
        let opened = outer.open_with(&subcredential, None)?;
        Ok(Reading::Points(opened.points, opened.capabilities, opened.certified_until))
    }
}

/// Checks a descriptor that an HSDir gave back: whose it is, and its counter.
pub fn check_read_back(text: &str, unix_secs: u64) -> Result<(HsBlindId, RevisionCounter), OuterError> {
    let outer = Outer::parse(text)?.verify(unix_secs)?;
    Ok((outer.blind_id, outer.counter))
}
