//! A small network as a consensus tells of it, and the onion service on it.

use std::collections::BTreeMap;
use std::fmt::Write;

use data_encoding::{BASE64_NOPAD, HEXUPPER};
use rustbalance::proto::onion::address::HsId;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::build::DescriptorBuilder;
use rustbalance::proto::onion::descriptor::capabilities::{Capabilities, FlowControl};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::NetworkView;
use rustbalance::proto::publish::plan::Plan;
use rustbalance::sys::clock::unix_secs;
use rustbalance::tor::consensus;
use sha2::{Digest, Sha256};

/// Seconds between votes: a period lasts eight minutes, and nothing rotates while a test runs a few seconds in it.
const VOTING: u64 = 20;
const RELAYS: u8 = 12;

pub(crate) const CAPABILITIES: Capabilities =
    Capabilities { flow_control: Some(FlowControl { versions: 0b110, sendme_inc: 31 }), single_onion: false };

/// The service's secret key.
pub(crate) fn keypair() -> HsIdKeypair {
    HsIdKeypair::from_seed([42; 32]).unwrap()
}

pub(crate) fn service() -> HsId {
    keypair().hs_id()
}

/// The RSA identity of relay `n`.
pub(crate) fn relay(n: u8) -> [u8; 20] {
    [n; 20]
}

/// An introduction point at relay `n`.
pub(crate) fn point(n: u8, auth: u8) -> IntroPoint {
    let mut enc_key = [0; 32];
    enc_key[0] = 9;
    IntroPoint {
        link_specifiers: [&[3, 0, 6, 127, 0, 0, 1, 35, 41, 2, 20][..], &relay(n), &[3, 32], &[n; 32]]
            .concat(),
        onion_key: [n; 32],
        auth_key: [auth; 32],
        enc_key,
    }
}

/// The documents of one consensus.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) valid_after: String,
    pub(crate) consensus: String,
    pub(crate) microdescs: String,
}

impl Network {
    /// The network as it is, `age` seconds ago.
    pub(crate) fn new(age: u64) -> Self {
        let at = (unix_secs() - age) / VOTING * VOTING;
        let time = |secs: u64| {
            jiff::Timestamp::from_second(secs.try_into().unwrap()).unwrap().strftime("%F %T").to_string()
        };
        let (mut relays, mut microdescs) = (String::new(), String::new());
        for n in 1..=RELAYS {
            let microdesc =
                format!("onion-key\nntor-onion-key x\nid ed25519 {}\n", BASE64_NOPAD.encode(&[n; 32]));
            let digest = BASE64_NOPAD.encode(&Sha256::digest(&microdesc));
            let identity = BASE64_NOPAD.encode(&relay(n));
            write!(relays, "r relay{n} {identity} 2038-01-01 00:00:00 127.0.0.1 9001 0\nm {digest}\n")
                .unwrap();
            relays.push_str("s Fast HSDir Running Stable V2Dir Valid\npr HSDir=1-2\n");
            microdescs.push_str(&microdesc);
        }
        let consensus = format!(
            "network-status-version 3 microdesc\nvote-status consensus\nvalid-after {}\nfresh-until {}\n\
             valid-until {}\nparams hsdir_n_replicas=2 hsdir_spread_store=2\n{relays}directory-footer\n",
            time(at),
            time(at + VOTING),
            time(at + 3 * VOTING)
        );
        Self { valid_after: time(at), consensus, microdescs }
    }

    /// The same without relay `n`.
    pub(crate) fn without(&self, n: u8) -> Self {
        let (before, rest) = self.consensus.split_once(&format!("r relay{n} ")).unwrap();
        let (_, after) = rest.split_once("r relay").unwrap();
        Self { consensus: format!("{before}r relay{after}"), ..self.clone() }
    }

    pub(crate) fn view(&self) -> NetworkView {
        consensus::parse(&self.consensus, &self.microdescs, true).unwrap()
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan::new(&self.view(), &keypair()).unwrap()
    }

    /// All responsible HSDirs, by period.
    pub(crate) fn responsible(&self) -> BTreeMap<u64, Vec<[u8; 20]>> {
        let slots = self.plan().slots;
        slots
            .iter()
            .map(|slot| (slot.slot.period.num, slot.hsdirs.iter().map(|hsdir| hsdir.rsa_id).collect()))
            .collect()
    }

    /// The service's own descriptor as the serving tor shows it: that of the first slot.
    pub(crate) fn own_descriptor(&self, points: &[IntroPoint]) -> String {
        let plan = self.plan();
        let keys = &plan.slots[0].keys;
        let builder = DescriptorBuilder {
            blind: keys,
            subcredential: service().subcredential(&keys.id()),
            counter: RevisionCounter(1),
            points,
            clients: &[],
            capabilities: CAPABILITIES,
            now_unix_secs: unix_secs(),
        };
        builder.build(&mut rand::rng()).unwrap()
    }
}

/// As the control port writes it.
pub(crate) fn fingerprint(id: [u8; 20]) -> String {
    HEXUPPER.encode(&id)
}
