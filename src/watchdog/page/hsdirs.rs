//! The HSDirs that must store the descriptors: drawn on their ring, and as a table that says the same.

use std::fmt::Write;

use super::markup::{escaped, short, time};
use super::ring_picture;
use crate::proto::publish::report::{HsDirReport, HsDirState, SlotReport};
use crate::watchdog::overview::Descriptors;

/// Both descriptors, the one that clients fetch first.
pub(super) fn write(descriptors: Option<&Descriptors>, now: u64, page: &mut String) {
    page.push_str("<h2>HSDirs</h2>\n");
    let Some(descriptors) = descriptors.filter(|descriptors| !descriptors.slots.is_empty()) else {
        page.push_str("<p>The publisher of this node does not tell, or does not know the network yet.</p>\n");
        return;
    };
    if descriptors.slots.iter().all(|slot| slot.hsdirs.iter().all(|dir| dir.state == HsDirState::Idle)) {
        page.push_str("<p>Another node publishes: what the HSDirs hold is known there.</p>\n");
    }
    page.push_str(
        "<p>A ring begins at its top and runs clockwise. An arc runs from where a replica of the descriptor lies to the \
         last relay that must store it. What is verified was accepted and has been read back.</p>\n",
    );
    for slot in &descriptors.slots {
        let (class, which) = if slot.client_fetches {
            ("wide", "which clients fetch now")
        } else {
            ("small", "which clients with an older or a newer consensus fetch")
        };
        let _ = writeln!(page, "<h3>Period {}, {which}</h3>", slot.period);
        let _ = writeln!(page, "<div class=ring-{class}>\n{}</div>", ring_picture::svg(slot));
        table(slot, now, page);
    }
}

fn table(slot: &SlotReport, now: u64, page: &mut String) {
    page.push_str(
        "<table><tr><th>HSDir<th>Replica<th>Place<th>Descriptor<th>Counter\
         <th>Accepted (UTC)<th>Read back (UTC)<th>Failures\n",
    );
    for hsdir in ring_picture::in_order(slot) {
        row(hsdir, now, page);
    }
    page.push_str("</table>\n");
}

fn row(hsdir: &HsDirReport, now: u64, page: &mut String) {
    let (replica, place) = hsdir.seat.map_or(("?".to_owned(), "?".to_owned()), |seat| {
        (seat.replica.to_string(), format!("{:.3}&nbsp;%", seat.place.turns() * 100.0))
    });
    let (tone, state) = match hsdir.state {
        HsDirState::Idle => ("plain", "idle"),
        HsDirState::Behind => ("bad", "behind: has an older one"),
        HsDirState::Posting => ("fair", "posting"),
        HsDirState::Accepted => ("good", "accepted"),
        HsDirState::Verified => ("good", "verified"),
        HsDirState::Unknown => ("fair", "unknown to our tor"),
    };
    let counter = hsdir.counter.map(|counter| counter.to_string()).unwrap_or_default();
    let when = |moment: Option<u64>| {
        let day = |moment| now.saturating_sub(moment) >= 86_400;
        moment.map(|moment| time(moment, day(moment))).unwrap_or_default()
    };
    let _ = writeln!(
        page,
        "<tr><td><code title=\"{}\">{}</code><td>{replica}<td>{place}<td class={tone}>{state}<td>{counter}<td>{}<td>{}<td>{}",
        escaped(&hsdir.fingerprint),
        short(&hsdir.fingerprint),
        when(hsdir.accepted_at),
        when(hsdir.read_back_at),
        hsdir.failures,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::page::document::tests::overview;

    #[test]
    fn both_descriptors_are_there_each_drawn_and_with_the_same_numbers_in_a_table() {
        let descriptors = overview().descriptors.unwrap();
        let mut page = String::new();
        write(Some(&descriptors), 1_790_000_000, &mut page);
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.find("Period 20780, which clients fetch now") < page.find("Period 20781"), "{page}");
        for slot in &descriptors.slots {
            for hsdir in &slot.hsdirs {
                let rows = page.lines().filter(|line| {
                    line.starts_with("<tr>") && line.contains(&format!("title=\"{}\"", hsdir.fingerprint))
                });
                let counter = format!("<td>{}<td>", hsdir.counter.unwrap());
                assert!(rows.into_iter().any(|row| row.contains(&counter)), "{counter}: {page}");
            }
        }
        assert!(page.contains("<td>1<td>12.500&nbsp;%<td class=good>verified<td>4711<td>"), "{page}");
    }

    #[test]
    fn who_does_not_publish_says_so() {
        let mut descriptors = overview().descriptors.unwrap();
        for hsdir in descriptors.slots.iter_mut().flat_map(|slot| &mut slot.hsdirs) {
            hsdir.state = HsDirState::Idle;
        }
        let mut page = String::new();
        write(Some(&descriptors), 0, &mut page);
        assert!(page.contains("Another node publishes"), "{page}");
        page.clear();
        write(None, 0, &mut page);
        assert!(page.contains("does not tell"), "{page}");
    }
}
