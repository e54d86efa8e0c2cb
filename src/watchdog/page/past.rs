//! What has happened lately: on this node, with what was done about it, and in the cluster.

use std::fmt::Write;

use super::markup::{escaped, time};
use crate::proto::health::report::Deed;
use crate::watchdog::overview::Cluster;

/// What is shown as new.
const NEW_SECS: u64 = 3600;
/// Most older events shown: those before a quiet night. The journal has them all.
const MOST_OLDER: usize = 20;

/// One event.
struct Event<'a> {
    unix_secs: u64,
    whose: &'static str,
    text: &'a str,
    alarming: bool,
}

/// The events of the last hour, and some of those before.
pub(super) fn write(deeds: &[Deed], cluster: Option<&Cluster>, now: u64, page: &mut String) {
    let done = deeds.iter().map(|deed| Event {
        unix_secs: deed.unix_secs,
        whose: "this node",
        text: &deed.text,
        alarming: deed.alarming,
    });
    let seen = cluster.into_iter().flat_map(|cluster| &cluster.past).map(|past| Event {
        unix_secs: past.unix_ms / 1000,
        whose: "cluster",
        text: &past.text,
        alarming: past.alarming,
    });
    let mut events: Vec<Event> = done.chain(seen).collect();
    // Newest first; what happened within one second stays in its order.
    events.reverse();
    events.sort_by_key(|event| std::cmp::Reverse(event.unix_secs));
    let (new, older): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| now.saturating_sub(event.unix_secs) <= NEW_SECS);
    page.push_str("<h2>The last hour</h2>\n");
    if new.is_empty() {
        page.push_str("<p>Nothing has happened.</p>\n");
    } else {
        table(&new, false, page);
    }
    if !older.is_empty() {
        page.push_str("<h2>Before that</h2>\n");
        table(&older[..older.len().min(MOST_OLDER)], true, page);
    }
}

fn table(events: &[Event], with_day: bool, page: &mut String) {
    page.push_str("<table><tr><th>When (UTC)<th>Where<th>What\n");
    for Event { unix_secs, whose, text, alarming } in events {
        let tone = if *alarming { "bad" } else { "plain" };
        let (when, text) = (time(*unix_secs, with_day), escaped(text));
        let _ = writeln!(page, "<tr><td>{when}<td>{whose}<td class={tone}>{text}");
    }
    page.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::health::report::DeedKind;
    use crate::watchdog::page::document::tests::cluster;

    #[test]
    fn events_of_both_are_one_list_newest_first_cut_at_an_hour() {
        let deed = |unix_secs, text: &str| Deed {
            unix_secs,
            text: text.to_owned(),
            alarming: false,
            kind: DeedKind::Remedy,
            failure: None,
            part: None,
        };
        let mut cluster = cluster();
        cluster.past.truncate(1);
        (cluster.past[0].unix_ms, cluster.past[0].text) = (5_500_000, "<middle>".to_owned());
        let deeds =
            [deed(1000, "long ago"), deed(5000, "begin"), deed(6000, "late"), deed(6000, "very late")];
        let mut page = String::new();
        write(&deeds, Some(&cluster), 6000, &mut page);
        let order = [">very late", ">late", ">&lt;middle&gt;", ">begin", "Before that", ">long ago"]
            .map(|text| page.find(text).unwrap_or_else(|| panic!("{text}: {page}")));
        assert!(order.is_sorted(), "{order:?} {page}");
        let mut page = String::new();
        write(&[], None, 6000, &mut page);
        assert!(page.contains("Nothing has happened") && !page.contains("Before"), "{page}");
    }
}
