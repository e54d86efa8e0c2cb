//! Where the two live descriptors lie under one consensus, and with which keys they are signed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::proto::onion::blinding::{BlindError, HsBlindKeypair};
use crate::proto::onion::hsdir::HsDir;
use crate::proto::onion::identity::HsIdKeypair;
use crate::proto::onion::network::{NetworkView, Slot};
use crate::proto::onion::ring::{Replica, Ring};
use crate::proto::publish::report::Seat;

/// All that publishing needs to know of one consensus. The uploading tor's consensus must be the one, because
/// that tor refuses HSDirs it does not know, and reads back only the period it believes in.
#[derive(Debug, Clone)]
pub struct Plan {
    /// First and second slot, as in [`NetworkView::slots`].
    pub slots: [SlotPlan; 2],
    /// RSA identities of the running relays: introduction points at others are not published (R3.2).
    pub relays: BTreeSet<[u8; 20]>,
}

/// One of the two live descriptors: period, keys, and the relays that store it.
#[derive(Debug, Clone)]
pub struct SlotPlan {
    /// Period, ring and counter epoch.
    pub slot: Slot,
    /// The blinded keys of this period; shared, because they are never copied.
    pub keys: Arc<HsBlindKeypair>,
    /// The responsible HSDirs of all replicas.
    pub hsdirs: BTreeSet<HsDir>,
    /// The same by replica, with their places on the ring: for those who watch.
    pub replicas: Vec<Replica>,
}

impl SlotPlan {
    /// Where a responsible HSDir lies.
    pub fn seat(&self, hsdir: &HsDir) -> Option<Seat> {
        (1..).zip(&self.replicas).find_map(|(replica, stored)| {
            let (place, _) = stored.hsdirs.iter().find(|(_, dir)| dir == hsdir)?;
            Some(Seat { replica, place: *place })
        })
    }
}

impl Plan {
    /// Blinds the identity for both live periods and walks both rings. Hashes twice for each HSDir of the network:
    /// some milliseconds on the public one.
    pub fn new(view: &NetworkView, identity: &HsIdKeypair) -> Result<Self, BlindError> {
        let [first, second] = view.slots();
        let plan = |slot: Slot| {
            let keys = identity.blind(slot.period)?;
            let replicas = Ring::new(view, &slot).replicas(&keys.id());
            let hsdirs = replicas.iter().flat_map(|replica| &replica.hsdirs).map(|(_, dir)| *dir).collect();
            Ok(SlotPlan { slot, keys: Arc::new(keys), hsdirs, replicas })
        };
        Ok(Self { slots: [plan(first)?, plan(second)?], relays: view.relays.clone() })
    }

    /// The descriptor that clients fetch under this consensus, and that can be read back.
    pub fn clients_slot(&self) -> &SlotPlan {
        let [first, second] = &self.slots;
        if first.slot.client_fetches { first } else { second }
    }
}
