//! Seeds whose lives once broke a law. They are lived again with the others; what they tell changes with the dice.

use crate::life::{Life, live};

/// Of short lives, and what was wrong.
const SHORT: [(u64, &str); 4] = [
    (182, "a timer was due at the very moment of another event"),
    (2626, "a node that was let in did not know that its invitation was spent"),
    (3762, "news that must go through others takes longer"),
    (4167, "a peer's answer was lost, and with it a node that could be reached through others only"),
];
/// Of long lives.
const LONG: [(u64, &str); 3] = [
    (6, "two nodes that had lost each other did not come together through a third"),
    (100_002, "a publisher without a coordinator, its clock ahead, never yielded"),
    (100_004, "after a partition the descriptor of the one that gave way stayed for a minute"),
];

#[test]
fn what_went_wrong_once() {
    for (seed, _) in SHORT {
        drop(live(seed, Life::short()));
    }
    for (seed, _) in LONG {
        drop(live(seed, Life::long()));
    }
}
