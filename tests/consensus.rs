//! Reads consensuses of a private network and compares the ring made from them with the HSDirs that tor itself chose.
//!
//! `tests/data/consensus` holds, for each half of a day of such a network (8 minutes, 12 relays,
//! `hsdir_spread_store=2`), what tor 0.4.9.11 gave out for `dir/status-vote/current/consensus-microdesc` and
//! `md/all`, and the `HS_DESC` events that it sent at that time for a new service of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use data_encoding::HEXUPPER_PERMISSIVE;
use proptest::prelude::*;
use rustbalance::proto::onion::address::HsId;
use rustbalance::proto::onion::blinding::HsBlindId;
use rustbalance::proto::onion::hsdir::{HsDir, hsdir_index};
use rustbalance::proto::onion::network::{HsDirParams, NetworkView, SlotKind};
use rustbalance::proto::onion::ring::{Ring, RingPlace};
use rustbalance::tor::consensus::{ConsensusError, parse};
use rustbalance::tor::event::{self, HsDescAction, TorEvent};
use rustbalance::tor::reply::ReplyDecoder;

/// The HSDirs of one descriptor, with the index that tor reckoned for each.
type Uploads = BTreeMap<[u8; 20], [u8; 32]>;

/// What was recorded in one half of a day.
struct Recording {
    consensus: String,
    microdescs: String,
    events: String,
}

impl Recording {
    fn open(half: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/consensus");
        let read = |kind| std::fs::read_to_string(folder.join(format!("{half}.{kind}"))).unwrap();
        Self { consensus: read("consensus"), microdescs: read("microdescs"), events: read("events") }
    }

    fn view(&self) -> NetworkView {
        parse(&self.consensus, &self.microdescs, true).unwrap()
    }

    /// The service, and the HSDirs that tor uploaded to by blinded key.
    fn uploads(&self) -> (HsId, BTreeMap<HsBlindId, Uploads>) {
        let mut uploads: BTreeMap<_, Uploads> = BTreeMap::new();
        let mut service = None;
        for line in self.events.lines() {
            let index =
                line.split_once("HSDIR_INDEX=").map(|(_, hex)| HEXUPPER_PERMISSIVE.decode(hex.as_bytes()));
            let bytes = format!("{line}\r\n");
            let reply = ReplyDecoder::new().decode(&mut bytes.as_bytes()).unwrap().unwrap();
            let TorEvent::HsDesc(event) = event::parse(reply).unwrap() else { panic!("{line}") };
            service = event.address;
            if event.action == HsDescAction::Upload {
                let index = index.unwrap().unwrap().try_into().unwrap();
                uploads.entry(event.blinded.unwrap()).or_default().insert(event.fingerprint.unwrap(), index);
            }
        }
        (service.unwrap(), uploads)
    }
}

/// Our ring gives exactly the HSDirs that tor chose, for both descriptors, and for each the same place on it.
#[test]
fn the_ring_is_tors_own_in_both_halves_of_the_day() {
    for (half, fetched) in [("early", SlotKind::First), ("late", SlotKind::Second)] {
        let recording = Recording::open(half);
        let view = recording.view();
        let (service, uploads) = recording.uploads();
        assert_eq!(uploads.len(), 2, "{half}: two descriptors");
        assert!(view.srv_current.is_some() && view.srv_previous.is_some(), "{half}: no disaster value");
        for slot in view.slots() {
            assert_eq!(slot.client_fetches, slot.which == fetched, "{half}");
            let blinded = service.blind(slot.period).unwrap();
            let tors = &uploads[&blinded];
            let ring = Ring::new(&view, &slot);
            let ours: BTreeSet<HsDir> = ring.responsible(&blinded).concat().into_iter().collect();
            for (place, dir) in ring.replicas(&blinded).into_iter().flat_map(|replica| replica.hsdirs) {
                assert_eq!(
                    place,
                    RingPlace::of(&tors[&dir.rsa_id]),
                    "{half}: the place that people are shown"
                );
            }
            assert!(ours.len() < view.hsdirs.len() / 2, "{half}: a wrong ring would show");
            let ids: BTreeSet<_> = ours.iter().map(|dir| dir.rsa_id).collect();
            assert_eq!(ids, tors.keys().copied().collect(), "{half}, {:?}", slot.which);
            for dir in ours {
                assert_eq!(hsdir_index(&dir.ed_id, &slot.srv, slot.period), tors[&dir.rsa_id], "{half}");
            }
        }
    }
}

#[test]
fn a_consensus_is_read_whole() {
    let view = Recording::open("early").view();
    assert_eq!(view.valid_after, 1_795_453_980, "2026-11-23 17:13:00");
    assert_eq!((view.fresh_until - view.valid_after, view.valid_until - view.valid_after), (20, 40));
    assert_eq!(
        (view.voting_interval_secs, view.period_length_minutes, view.rotation_offset_secs),
        (20, 8, 240)
    );
    assert_eq!(view.params, HsDirParams { replicas: 2, spread_store: 2, spread_fetch: 2 });
    assert_eq!((view.hsdirs.len(), view.relays.len()), (12, 12));
    assert_eq!(view.srv_current.unwrap().to_string(), "2Jo172/Xp4LZUjZ1VJxOatlepDrnxmxtUOdUhd0q6mI=");
    assert_eq!(view.srv_previous.unwrap().to_string(), "zxJao+gBmFMSezvz/VXkEWEQJD5b/z+7AXNCGoLFVW0=");
    assert!(view.hsdirs.iter().any(|dir| dir.fingerprint() == "5ADE916284AF3768DDF0E58C5DCF5E19D9AC50E3"));
}

/// What a change of one line does to the view.
#[test]
fn each_fact_comes_from_its_line() {
    let Recording { consensus, microdescs, .. } = Recording::open("early");
    let changed = |from: &str, to: &str| {
        assert!(consensus.contains(from), "{from}");
        parse(&consensus.replacen(from, to, 1), &microdescs, true).unwrap()
    };
    let all = 12;
    for (from, to) in [
        ("s Exit Fast Guard HSDir Running", "s Exit Fast Guard Running"),
        ("HSDir=2 HSIntro=4-5 HSRend=1-2 Link=3-5", "HSDir=1 HSIntro=4-5 HSRend=1-2 Link=3-5"),
        ("HSDir=2 HSIntro=4-5 HSRend=1-2 Link=3-5", "HSIntro=4-5 HSRend=1-2 Link=3-5"),
        ("\nm ", "\nm A"),
        ("\nm ", "\nM "),
    ] {
        let view = changed(from, to);
        assert_eq!((view.hsdirs.len(), view.relays.len()), (all - 1, all), "{from:?} to {to:?}");
    }
    assert_eq!(changed("Guard HSDir Running", "Guard HSDir").relays.len(), all - 1);
    for list in ["HSDir=1-2", "HSDir=1,2", "HSDir=0,1-3,9", "Old=1 HSDir=2"] {
        assert_eq!(changed("HSDir=2 HSIntro=4-5 HSRend=1-2 Link=3-5", list).hsdirs.len(), all, "{list}");
    }
    for line in ["shared-rand-current-value 3 ", "shared-rand-previous-value 0 "] {
        let view = changed(line, "unknown-line ");
        assert_ne!(view.srv_current.is_some(), view.srv_previous.is_some(), "{line}");
    }
    for (params, expected) in [
        ("hsdir_n_replicas=0 hsdir_spread_fetch=500 hsdir_spread_store=-1", (1, 1, 128)),
        ("hsdir_n_replicas=17 hsdir_spread_fetch=3", (16, 4, 3)),
        ("hsdir_n_replicas=x", (2, 4, 3)),
        ("", (2, 4, 3)),
    ] {
        let view = changed("hsdir_n_replicas=2 hsdir_spread_fetch=2 hsdir_spread_store=2", params);
        let HsDirParams { replicas, spread_store, spread_fetch } = view.params;
        assert_eq!((replicas, spread_store, spread_fetch), expected, "{params}");
    }
    for (param, testing, minutes) in [
        ("hsdir_interval=60", true, 8),
        ("hsdir_interval=60", false, 60),
        ("x=1", false, 1440),
        ("hsdir_interval=1", false, 5),
    ] {
        let text = consensus.replacen("AuthDirMaxServersPerAddr=0", param, 1);
        assert_eq!(parse(&text, &microdescs, testing).unwrap().period_length_minutes, minutes, "{param}");
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    let Recording { consensus, microdescs, .. } = Recording::open("early");
    let footer = consensus.find("directory-footer").unwrap();
    let first = consensus.find("\nr ").unwrap() + 1;
    let replaced = |from: &str, to: &str| consensus.replacen(from, to, 1);
    for (text, error) in [
        (String::new(), ConsensusError::Flavour),
        (replaced("3 microdesc", "3"), ConsensusError::Flavour),
        (consensus[..footer].to_owned(), ConsensusError::Truncated),
        (consensus[..first].to_owned(), ConsensusError::Truncated),
        (replaced("valid-after ", "x "), ConsensusError::Time { keyword: "valid-after" }),
        (replaced("valid-after 2026", "valid-after 1926"), ConsensusError::Time { keyword: "valid-after" }),
        (
            replaced("fresh-until 2026-11-23", "fresh-until 2026-11-31"),
            ConsensusError::Time { keyword: "fresh-until" },
        ),
        (
            replaced("valid-until 2026-11-23 ", "valid-until 2026-11-23T"),
            ConsensusError::Time { keyword: "valid-until" },
        ),
        (replaced("fresh-until 2026", "fresh-until 2025"), ConsensusError::TimeOrder),
        (replaced("valid-until 2026", "valid-until 2025"), ConsensusError::TimeOrder),
        (replaced("value 3 2J", "value 3 2"), ConsensusError::SharedRandom),
        (replaced("\nr r9 ", "\nr "), ConsensusError::Relay { line: consensus[..first].lines().count() + 1 }),
    ] {
        assert_eq!(parse(&text, &microdescs, true).unwrap_err(), error);
    }
}

#[test]
fn microdescriptors_count_by_their_digest_alone() {
    let Recording { consensus, microdescs, .. } = Recording::open("early");
    let hsdirs = |microdescs: &str| parse(&consensus, microdescs, true).unwrap().hsdirs;
    let all = hsdirs(&microdescs);
    assert_eq!(hsdirs(""), []);
    assert_eq!(hsdirs("junk\nonion-key"), []);

    // As in tor's own cache file.
    let annotated =
        microdescs.replace("onion-key\n-----", "@last-listed 2026-11-23 17:13:00\nonion-key\n-----");
    assert_ne!(annotated, microdescs);
    assert_eq!(hsdirs(&annotated), all);
    // Several networks' worth, old ones too.
    let other = "onion-key\nntor-onion-key x\nid ed25519 AAAA\n".repeat(3);
    assert_eq!(hsdirs(&format!("{other}{microdescs}{other}{microdescs}")), all);
    // One bit of one of them.
    let spoiled = microdescs.replacen("ntor-onion-key", "ntor-onion-kez", 1);
    assert_eq!(hsdirs(&spoiled).len(), all.len() - 1);
    // Without the Ed25519 identity.
    assert_eq!(hsdirs(&microdescs.replace("id ed25519", "id rsa1024")), []);
}

proptest! {
    /// Whatever comes, there is an answer, and no HSDir that no microdescriptor vouches for.
    #[test]
    fn any_damage_is_survived(at in 0usize..7_000, length in 0usize..400, with in ".{0,40}") {
        let Recording { consensus, microdescs, .. } = Recording::open("late");
        let whole = parse(&consensus, &microdescs, true).unwrap();
        for damage_consensus in [true, false] {
            let damage = |text: &str| {
                let start = text.floor_char_boundary(at.min(text.len()));
                let end = text.floor_char_boundary((start + length).min(text.len()));
                format!("{}{with}{}", &text[..start], &text[end..])
            };
            let view = if damage_consensus {
                parse(&damage(&consensus), &microdescs, true)
            } else {
                parse(&consensus, &damage(&microdescs), true)
            };
            if let Ok(view) = view {
                let known: BTreeSet<_> = whole.hsdirs.iter().map(|dir| dir.ed_id).collect();
                prop_assert!(view.hsdirs.iter().all(|dir| known.contains(&dir.ed_id)));
            }
        }
    }
}
