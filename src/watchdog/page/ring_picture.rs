//! The ring of HSDirs as a picture: SVG inside the page, made of nothing but the report.
//!
//! The ring begins at the top and runs clockwise. Each replica is an arc inside it, from where the descriptor lies to the
//! last relay that must store it; each relay is a mark on the ring, in the shape of its replica and the colour of its
//! state, with a line to its label. On the public network the relays of a replica lie within a thousandth of the ring: there
//! the marks cover each other, and the labels, which have the marks too, do not.

use std::fmt::Write;

use super::markup::short;
use crate::proto::onion::ring::RingPlace;
use crate::proto::publish::report::{HsDirReport, HsDirState, Seat, SlotReport};

/// Half the picture's width: labels with counters of 13 digits are inside.
const HALF_WIDTH: f64 = 310.0;
/// Half its height.
const HALF_HEIGHT: f64 = 165.0;
/// The ring's radius.
const RADIUS: f64 = 110.0;
/// How far to the side labels begin.
const LABEL_X: f64 = 165.0;
/// The least distance of two labels, which have two lines each.
const LABEL_GAP: f64 = 26.0;
/// How far up and down labels are.
const LABEL_REACH: f64 = 143.0;
/// Most labels on one side: `2 * LABEL_REACH / LABEL_GAP`, and one. With more there are none, and the table has to do.
const MOST_LABELS: usize = 12;
/// How many shapes of marks and colours of arcs there are for replicas; the network has two replicas.
const SHAPES: u8 = 3;

/// A relay in the picture.
struct Relay<'a> {
    hsdir: &'a HsDirReport,
    seat: Seat,
}

/// The responsible HSDirs, replica by replica, in the order of the ring.
pub(super) fn in_order(slot: &SlotReport) -> Vec<&HsDirReport> {
    let mut hsdirs: Vec<&HsDirReport> = slot.hsdirs.iter().collect();
    hsdirs.sort_by_key(|hsdir| hsdir.seat.map(|seat| (seat.replica, way(slot, seat))));
    hsdirs
}

/// How far a relay lies behind its replica's place.
fn way(slot: &SlotReport, seat: Seat) -> u32 {
    let start = usize::from(seat.replica).checked_sub(1).and_then(|index| slot.replicas.get(index));
    seat.place.0.wrapping_sub(start.map_or(0, |place| place.0))
}

/// The picture; empty if no place is known.
pub(super) fn svg(slot: &SlotReport) -> String {
    let mut relays: Vec<Relay> =
        in_order(slot).into_iter().filter_map(|hsdir| Some(Relay { hsdir, seat: hsdir.seat? })).collect();
    if relays.is_empty() {
        return String::new();
    }
    let mut picture = String::new();
    let (left, top, width, height) = (-HALF_WIDTH, -HALF_HEIGHT, 2.0 * HALF_WIDTH, 2.0 * HALF_HEIGHT);
    let _ = writeln!(
        picture,
        "<svg role=img viewBox=\"{left} {top} {width} {height}\" aria-label=\"{}\">\n\
         <circle class=ring r=\"{RADIUS}\"/>\n<text class=middle y=\"-3\">period {}</text>",
        in_words(slot),
        slot.period
    );
    let _ = writeln!(
        picture,
        "<text class=middle y=\"14\">{} of {} hold it</text>",
        holding(slot),
        slot.hsdirs.len()
    );
    for (replica, place) in (1..).zip(&slot.replicas) {
        arc(replica, *place, &relays, &mut picture);
    }
    labels(&relays, &mut picture);
    // Where marks cover each other, the one to be seen is that of the relay which lacks something.
    relays.sort_by_key(|relay| concern(relay.hsdir.state));
    for relay in &relays {
        mark(relay, point(relay.seat.place, RADIUS), &mut picture);
    }
    picture.push_str("</svg>");
    picture
}

/// The picture in a sentence, for those who cannot see it.
fn in_words(slot: &SlotReport) -> String {
    format!(
        "The ring of HSDirs in period {}: {} of {} responsible relays hold the descriptor. The table below has them one by one.",
        slot.period,
        holding(slot),
        slot.hsdirs.len()
    )
}

fn holding(slot: &SlotReport) -> usize {
    let holds = |state| matches!(state, HsDirState::Accepted | HsDirState::Verified);
    slot.hsdirs.iter().filter(|hsdir| holds(hsdir.state)).count()
}

/// A place at this distance from the middle.
fn point(place: RingPlace, radius: f64) -> (f64, f64) {
    let angle = place.turns() * std::f64::consts::TAU;
    (radius * angle.sin(), -radius * angle.cos())
}

/// The part of the ring that a replica's relays are on, inside it, with the replica's number at its beginning.
fn arc(replica: u8, start: RingPlace, relays: &[Relay], picture: &mut String) {
    let shape = shape(replica);
    let radius = RADIUS - 12.0 - 7.0 * f64::from(shape);
    let way = |relay: &Relay| relay.seat.place.0.wrapping_sub(start.0);
    let longest = relays.iter().filter(|relay| relay.seat.replica == replica).map(way).max().unwrap_or(0);
    let (from, to) = (point(start, radius), point(RingPlace(start.0.wrapping_add(longest)), radius));
    let large = u8::from(longest > u32::MAX / 2);
    let edge = point(start, RADIUS);
    let number = point(start, RADIUS - 42.0);
    let _ = writeln!(
        picture,
        "<path class=arc-{shape} d=\"M{:.1} {:.1}L{:.1} {:.1}A{radius} {radius} 0 {large} 1 {:.1} {:.1}\"/>\
         <text class=middle x=\"{:.1}\" y=\"{:.1}\">{replica}</text>",
        edge.0,
        edge.1,
        from.0,
        from.1,
        to.0,
        to.1,
        number.0,
        number.1 + 4.0
    );
}

/// Names and counters at both sides, each with a line to its relay's place.
fn labels(relays: &[Relay], picture: &mut String) {
    for side in [1.0, -1.0] {
        let mut here: Vec<&Relay> =
            relays.iter().filter(|relay| (point(relay.seat.place, 1.0).0 >= 0.0) == (side > 0.0)).collect();
        if here.len() > MOST_LABELS {
            continue;
        }
        // From the top down: on the right the ring runs so, on the left the other way.
        here.sort_by_key(|relay| relay.seat.place);
        if side < 0.0 {
            here.reverse();
        }
        let wanted: Vec<f64> = here.iter().map(|relay| point(relay.seat.place, RADIUS + 20.0).1).collect();
        for (relay, y) in here.into_iter().zip(spread(&wanted)) {
            label(relay, side, y, picture);
        }
    }
}

/// Heights near the wanted ones, which run downwards: no two too close, none outside. There are at most [`MOST_LABELS`].
fn spread(wanted: &[f64]) -> Vec<f64> {
    let mut heights = Vec::with_capacity(wanted.len());
    let mut least = -LABEL_REACH;
    for height in wanted {
        let height = height.max(least);
        heights.push(height);
        least = height + LABEL_GAP;
    }
    let mut most = LABEL_REACH;
    for height in heights.iter_mut().rev() {
        *height = height.min(most);
        most = *height - LABEL_GAP;
    }
    heights
}

fn label(relay: &Relay, side: f64, y: f64, picture: &mut String) {
    let (on, off) = (point(relay.seat.place, RADIUS), point(relay.seat.place, RADIUS + 14.0));
    let (end, x) = (side * (LABEL_X - 10.0), side * LABEL_X);
    let (text, anchor) = (side * (LABEL_X + 10.0), if side > 0.0 { "start" } else { "end" });
    let counter = relay.hsdir.counter.map_or_else(|| "no counter".to_owned(), |counter| counter.to_string());
    let _ = writeln!(
        picture,
        "<path class=line d=\"M{:.1} {:.1}L{:.1} {:.1}L{end} {y:.1}\"/>",
        on.0, on.1, off.0, off.1
    );
    mark(relay, (x, y), picture);
    let _ = writeln!(
        picture,
        "<text class=name text-anchor={anchor} x=\"{text}\" y=\"{:.1}\">{}</text>\
         <text class=count text-anchor={anchor} x=\"{text}\" y=\"{:.1}\">{counter} {}</text>",
        y - 1.0,
        short(&relay.hsdir.fingerprint),
        y + 10.0,
        word(relay.hsdir.state)
    );
}

/// A relay's mark: the shape is its replica's, the colour its state's.
fn mark(relay: &Relay, (x, y): (f64, f64), picture: &mut String) {
    let class = word(relay.hsdir.state);
    let _ = match shape(relay.seat.replica) {
        0 => writeln!(picture, "<circle class={class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
        1 => {
            let (left, top) = (x - 4.5, y - 4.5);
            writeln!(picture, "<rect class={class} x=\"{left:.1}\" y=\"{top:.1}\" width=\"9\" height=\"9\"/>")
        }
        _ => writeln!(picture, "<path class={class} d=\"M{x:.1} {y:.1}m0 -6l6 6l-6 6l-6 -6z\"/>"),
    };
}

fn shape(replica: u8) -> u8 {
    replica.wrapping_sub(1) % SHAPES
}

/// How much a state wants to be seen.
fn concern(state: HsDirState) -> u8 {
    match state {
        HsDirState::Idle => 0,
        HsDirState::Verified => 1,
        HsDirState::Accepted => 2,
        HsDirState::Posting => 3,
        HsDirState::Unknown => 4,
        HsDirState::Behind => 5,
    }
}

/// A state in a word, which is also what the style calls it.
fn word(state: HsDirState) -> &'static str {
    match state {
        HsDirState::Idle => "idle",
        HsDirState::Behind => "behind",
        HsDirState::Posting => "posting",
        HsDirState::Accepted => "accepted",
        HsDirState::Verified => "verified",
        HsDirState::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::onion::network::SlotKind;
    use crate::proto::publish::report::Answers;

    const QUARTER: u32 = 1 << 30;

    fn hsdir(replica: u8, place: u32) -> HsDirReport {
        HsDirReport {
            fingerprint: format!("{place:08X}{:032}", 0),
            state: HsDirState::Verified,
            counter: Some(1_234_567_890_123),
            accepted_at: None,
            read_back_at: None,
            failures: 0,
            answers: Answers::default(),
            seat: Some(Seat { replica, place: RingPlace(place) }),
        }
    }

    fn slot(replicas: &[u32], hsdirs: Vec<HsDirReport>) -> SlotReport {
        SlotReport {
            which: SlotKind::First,
            period: 20_780,
            client_fetches: true,
            points: 0,
            points_by_node: Vec::new(),
            published: Vec::new(),
            renewed_at: None,
            certified_until: None,
            replicas: replicas.iter().map(|place| RingPlace(*place)).collect(),
            hsdirs,
        }
    }

    /// All numbers of these attributes.
    fn numbers(svg: &str, names: [&str; 2]) -> Vec<f64> {
        let after = |name: &str| {
            let pattern = format!(" {name}=\"");
            let values =
                svg.split(&pattern).skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap());
            values.collect::<Vec<f64>>()
        };
        names.iter().flat_map(|name| after(name)).collect()
    }

    #[test]
    fn the_ring_begins_at_the_top_and_runs_clockwise() {
        let rounded = |place| {
            let (x, y) = point(RingPlace(place), 100.0);
            format!("{:.0} {:.0}", x.round() + 0.0, y.round() + 0.0)
        };
        assert_eq!(rounded(0), "0 -100");
        assert_eq!(rounded(QUARTER), "100 0");
        assert_eq!(rounded(2 * QUARTER), "0 100");
        assert_eq!(rounded(3 * QUARTER), "-100 0");
    }

    #[test]
    fn relays_stand_at_their_places_in_their_replicas_shape_and_their_states_colour() {
        let mut behind = hsdir(2, 3 * QUARTER);
        behind.state = HsDirState::Behind;
        let svg = svg(&slot(&[QUARTER / 2, 2 * QUARTER], vec![hsdir(1, QUARTER), behind]));
        assert!(svg.contains("<circle class=verified cx=\"110.0\" cy=\"-0.0\" r=\"5\"/>"), "{svg}");
        assert!(svg.contains("<rect class=behind x=\"-114.5\" y=\"-4.5\" width=\"9\""), "{svg}");
        assert!(svg.contains("aria-label=\"The ring of HSDirs in period 20780: 1 of 2 responsible"), "{svg}");
        assert!(svg.contains(">40000000</text>") && svg.contains(">1234567890123 verified</text>"), "{svg}");
        // Replica 1 lies an eighth around the ring, its arc goes on to a quarter.
        assert!(
            svg.contains("<path class=arc-0 d=\"M77.8 -77.8L69.3 -69.3A98 98 0 0 1 98.0 -0.0\"/>"),
            "{svg}"
        );
    }

    #[test]
    fn an_arc_goes_on_over_the_rings_end() {
        let svg = svg(&slot(&[u32::MAX], vec![hsdir(1, QUARTER)]));
        assert!(svg.contains("L-0.0 -98.0A98 98 0 0 1 98.0 -0.0"), "{svg}");
        let order = in_order(&slot(&[3 * QUARTER], vec![hsdir(1, 5), hsdir(1, u32::MAX)])).len();
        assert_eq!(order, 2);
        let around = slot(&[3 * QUARTER], vec![hsdir(1, 5), hsdir(1, u32::MAX)]);
        let places: Vec<u32> = in_order(&around).iter().map(|hsdir| hsdir.seat.unwrap().place.0).collect();
        assert_eq!(places, [u32::MAX, 5]);
    }

    #[test]
    fn where_relays_cover_each_other_the_one_behind_is_on_top() {
        let mut crowd = [1, 2, 3, 4].map(|place| hsdir(1, place)).to_vec();
        crowd[1].state = HsDirState::Behind;
        let svg = svg(&slot(&[0], crowd));
        assert!(svg.rfind("<circle class=behind") > svg.rfind("<circle class=verified"), "{svg}");
    }

    #[test]
    fn without_places_there_is_no_picture() {
        let mut old = hsdir(1, 0);
        old.seat = None;
        assert_eq!(svg(&slot(&[], vec![old])), "");
    }

    #[test]
    fn relays_too_many_for_labels_are_marks_alone() {
        let crowd = (0..128).map(|number| hsdir(1, number * 1000)).collect();
        let svg = svg(&slot(&[0], crowd));
        assert_eq!(
            (svg.matches("<circle class=verified").count(), svg.matches("<text class=name").count()),
            (128, 0)
        );
    }

    proptest! {
        #[test]
        fn nothing_is_outside_the_picture(places in prop::collection::vec((1u8..=4, any::<u32>()), 1..20)) {
            let hsdirs = places.iter().map(|(replica, place)| hsdir(*replica, *place)).collect();
            let svg = svg(&slot(&[1, 2, 3, 4].map(|part| part * 900_000_000), hsdirs));
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
            prop_assert!(numbers(&svg, ["x", "cx"]).iter().all(|x| x.abs() <= LABEL_X + 10.0), "{}", svg);
            prop_assert!(numbers(&svg, ["y", "cy"]).iter().all(|y| y.abs() <= HALF_HEIGHT - 8.0), "{}", svg);
            // A fixed-width letter is three fifths of its size, which is 10.
            let widest = svg.split("<text class=count").skip(1)
                .map(|rest| rest.split(['>', '<']).nth(1).unwrap().len()).max().unwrap_or(0);
            let room = HALF_WIDTH - LABEL_X - 10.0;
            prop_assert!(f64::from(u16::try_from(widest).unwrap()) * 6.0 <= room, "{}", widest);
        }

        #[test]
        fn labels_keep_their_order_and_distance(mut wanted in prop::collection::vec(-130.0f64..130.0, 0..=MOST_LABELS)) {
            wanted.sort_by(f64::total_cmp);
            let heights = spread(&wanted);
            prop_assert_eq!(heights.len(), wanted.len());
            prop_assert!(heights.iter().all(|height| height.abs() <= LABEL_REACH + 1e-9), "{:?}", heights);
            prop_assert!(heights.windows(2).all(|two| two[1] - two[0] >= LABEL_GAP - 1e-9), "{:?}", heights);
            let roomy = wanted.windows(2).all(|two| two[1] - two[0] >= LABEL_GAP);
            prop_assert!(!roomy || heights == wanted, "what fits stays where it is");
        }

        #[test]
        fn further_on_the_ring_is_further_round(mut places in prop::collection::vec(any::<u32>(), 2..9)) {
            places.sort_unstable();
            let turned = |place: &u32| {
                let (x, y) = point(RingPlace(*place), RADIUS);
                x.atan2(-y).rem_euclid(std::f64::consts::TAU)
            };
            let angles: Vec<f64> = places.iter().map(turned).collect();
            // A hair of rounding, also over the top.
            prop_assert!(angles.windows(2).all(|two| two[1] >= two[0] - 1e-9 || two[1] < 1e-8), "{:?}", angles);
        }
    }
}
