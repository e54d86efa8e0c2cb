//! The status for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::ctl::answer::Line;
use crate::ctl::moment::Moment;
use crate::ctl::status::ages::{age, since};
use crate::ctl::status::paint::{Paint, Tone};
use crate::ctl::status::report::Report;
use crate::ctl::status::table::{Cell, Table};
use crate::ctl::status::trouble::troubles;
use crate::ipc::coordinator::{CoordinatorStatus, TunnelStatus};
use crate::ipc::proxy::{ProxyStatus, TargetStatus};
use crate::proto::cluster::drain::DrainPhase;
use crate::proto::cluster::status::{ClusterStatus, Lifecycle, NodeStatus};
use crate::proto::onion::network::SlotKind;
use crate::proto::publish::report::{Duty, HsDirState, PublisherReport, SlotReport, TorState};

/// How many past events are shown; `--json` has all.
const SHOWN_PAST: usize = 10;

/// Everything, as lines. Writing to a `String` cannot fail, so its results are dropped.
pub fn lines(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(coordinator) = &report.coordinator {
        summary(coordinator, &mut text);
    }
    if let Some(publisher) = &report.publisher {
        let _ = writeln!(text, "{}", Line("publisher", publisher_in_words(publisher)));
    }
    if let Some(proxy) = &report.proxy {
        let _ = writeln!(text, "{}", Line("proxy", proxy_in_words(proxy)));
        targets(proxy, &mut text);
    }
    for trouble in troubles(report) {
        let _ = writeln!(text, "{}", paint.tone(Tone::Bad, &Line("!", trouble).to_string()));
    }
    if let Some(coordinator) = &report.coordinator {
        let _ = write!(text, "\n{}", nodes(coordinator).lines(paint));
    }
    if let Some(publisher) = report.publisher.as_ref().filter(|publisher| publisher.duty != Duty::Idle) {
        let _ = write!(text, "\n{}", descriptors(publisher, report.at).lines(paint));
    }
    if let Some(coordinator) = &report.coordinator {
        past(&coordinator.cluster, paint, &mut text);
    }
    text
}

fn summary(coordinator: &CoordinatorStatus, text: &mut String) {
    let (cluster, mesh) = (&coordinator.cluster, &coordinator.mesh);
    let _ = writeln!(text, "{}", Line("node", &cluster.node));
    if let Some(joining) = &coordinator.joining {
        let _ = writeln!(text, "{}", Line("joining", joining));
    }
    let lease = match &cluster.holder {
        Some(holder) => format!("{holder}, epoch {}", cluster.epoch),
        None if coordinator.joining.is_some() => "not known yet".to_owned(),
        None if cluster.discovering => "looking for the other nodes".to_owned(),
        None => "nobody".to_owned(),
    };
    let _ = writeln!(text, "{}", Line("lease", lease));
    let serving = cluster.nodes.iter().filter(|node| node.lifecycle == Lifecycle::Healthy).count();
    let _ = writeln!(text, "{}", Line("serving", format!("{serving} of {} nodes", cluster.nodes.len())));
    if let Some(token) = cluster.nodes.iter().filter_map(|node| node.token).max() {
        let _ = writeln!(text, "{}", Line("token", token));
    }
    let carrier = if mesh.kernel { "kernel" } else { "user space" };
    let tunnel = format!("{} ({carrier}), {}", mesh.interface, mesh.tunnel_address);
    let _ = writeln!(text, "{}", Line("tunnel", tunnel));
    let datagrams = format!(
        "{} accepted, {} refused, {} of these for their clock; {} not sent",
        mesh.accepted, mesh.refused, mesh.refused_for_clock, mesh.unsent
    );
    let _ = writeln!(text, "{}", Line("datagrams", datagrams));
}

fn publisher_in_words(publisher: &PublisherReport) -> String {
    let duty = match publisher.duty {
        Duty::Idle => "another node publishes".to_owned(),
        Duty::Publishing { epoch } => format!("publishes, epoch {epoch}"),
        Duty::Yielded => "waits for the coordinator".to_owned(),
    };
    let state = |state| match state {
        TorState::Away => "away",
        TorState::Connected => "without a view of the network",
        TorState::Ready => "ready",
    };
    let muted = if publisher.muted { "; gives its introduction points up" } else { "" };
    let (serving, standby) = (state(publisher.serving_tor), state(publisher.standby_tor));
    let points = publisher.points.len();
    let lost = match publisher.points_lost {
        0 => String::new(),
        lost => format!(", {lost} of them at relays that have left the network"),
    };
    format!(
        "{duty}; {points} introduction points{lost}; tor that serves {serving}, the other one {standby}{muted}"
    )
}

fn proxy_in_words(proxy: &ProxyStatus) -> String {
    let failed: u64 = proxy.failed.values().sum();
    let mut words = format!(
        "{} connections now, {} finished, {} refused, {failed} failed",
        proxy.active, proxy.finished, proxy.refused
    );
    if proxy.targets.len() < 2 {
        let _ = write!(words, "; target {}", proxy.target);
    }
    if let Some((reason, number)) = proxy.failed.iter().max_by_key(|(_, number)| **number) {
        let _ = write!(words, "; mostly ({number}): {reason}");
    }
    if proxy.draining {
        words.push_str("; it is stopping");
    }
    words
}

/// Several targets, one by one.
fn targets(proxy: &ProxyStatus, text: &mut String) {
    for target in proxy.targets.iter().filter(|_| proxy.targets.len() > 1) {
        let TargetStatus { target, weight, connections, well, .. } = target;
        let out = if *well { "" } else { ", out" };
        let words = format!("{target}: {connections} connections, weight {weight}{out}");
        let _ = writeln!(text, "{}", Line("target", words));
    }
}

/// The nodes, this one marked.
fn nodes(coordinator: &CoordinatorStatus) -> Table {
    let cluster = &coordinator.cluster;
    let tunnels: BTreeMap<_, &TunnelStatus> =
        coordinator.mesh.tunnels.iter().map(|tunnel| (tunnel.tunnel_address, tunnel)).collect();
    // Only the holder knows what the HSDirs have.
    let holder = cluster.nodes.iter().find(|node| Some(&node.node) == cluster.holder.as_ref());
    let newest = cluster.nodes.iter().filter_map(|node| node.token).max();
    let columns = [
        "NODE",
        "STATE",
        "LEASE",
        "POINTS",
        "ON HSDIRS",
        "TARGET",
        "PRIORITY",
        "HEARD",
        "TUNNEL",
        "ENDPOINT",
        "TOKEN",
    ];
    let mut table = Table::new(&columns);
    for node in &cluster.nodes {
        let tunnel = node.tunnel_address.and_then(|address| tunnels.get(&address));
        let own = node.node == cluster.node;
        let published = holder.map(|holder| holder.published.contains(&node.node));
        table.add(vec![
            Cell::plain(if own { format!("{}*", node.node) } else { node.node.to_string() }),
            state(node),
            match (node.lease_epoch, node.stands_back) {
                (None, Some(_)) => Cell::new("stands back", Tone::Fair),
                (epoch, _) => Cell::maybe(epoch),
            },
            Cell::plain(node.points.to_string()),
            match published {
                Some(true) => Cell::new("yes", Tone::Good),
                Some(false) if node.lifecycle == Lifecycle::Healthy => Cell::new("no", Tone::Fair),
                Some(false) => Cell::plain("no"),
                None => Cell::plain("-"),
            },
            match node.target_well {
                Some(true) => Cell::new("well", Tone::Good),
                Some(false) => Cell::new("away", Tone::Bad),
                None => Cell::plain("-"),
            },
            Cell::maybe(node.priority),
            Cell::maybe(node.heard_ms_ago.map(|ms| age(Duration::from_millis(ms)))),
            Cell::maybe(
                tunnel
                    .and_then(|tunnel| tunnel.handshake_secs_ago)
                    .map(|secs| age(Duration::from_secs(secs))),
            ),
            Cell::maybe(tunnel.and_then(|tunnel| tunnel.endpoint).or(node.endpoint)),
            match node.token {
                token if token == newest => Cell::maybe(token),
                token => {
                    Cell::new(token.map_or_else(|| "-".to_owned(), |token| token.to_string()), Tone::Fair)
                }
            },
        ]);
    }
    table
}

fn state(node: &NodeStatus) -> Cell {
    let tone = match node.lifecycle {
        Lifecycle::Healthy => Tone::Good,
        Lifecycle::Joining | Lifecycle::Initializing | Lifecycle::Draining | Lifecycle::Leaving => Tone::Fair,
        Lifecycle::Unhealthy | Lifecycle::Dead => Tone::Bad,
    };
    // A node that is down may be drained as well.
    let drain = match (node.lifecycle, node.drain_phase) {
        (Lifecycle::Draining, None | Some(DrainPhase::Draining)) => None,
        (_, Some(phase)) => Some(phase.to_string()),
        (_, None) => node.draining.then(|| "draining".to_owned()),
    };
    let word = node.lifecycle.to_string();
    Cell::new(drain.map_or_else(|| word.clone(), |drain| format!("{word}, {drain}")), tone)
}

/// What the HSDirs have of both descriptors.
fn descriptors(publisher: &PublisherReport, at: Moment) -> Table {
    let mut table = Table::new(&[
        "DESCRIPTOR",
        "PERIOD",
        "POINTS",
        "RENEWED",
        "ACCEPTED",
        "READ BACK",
        "LAST READ",
        "COUNTER",
    ]);
    for slot in &publisher.slots {
        let count =
            |wanted: &[HsDirState]| slot.hsdirs.iter().filter(|hsdir| wanted.contains(&hsdir.state)).count();
        let all = slot.hsdirs.len();
        let of_all = |number: usize| {
            let tone = if number == all { Tone::Good } else { Tone::Fair };
            Cell::new(format!("{number} of {all}"), tone)
        };
        table.add(vec![
            Cell::plain(slot_in_words(slot)),
            Cell::number(slot.period),
            Cell::plain(slot.points.to_string()),
            Cell::maybe(slot.renewed_at.map(|then| since(then, at.unix_secs()))),
            of_all(count(&[HsDirState::Accepted, HsDirState::Verified])),
            of_all(count(&[HsDirState::Verified])),
            Cell::maybe(
                slot.hsdirs
                    .iter()
                    .filter_map(|hsdir| hsdir.read_back_at)
                    .max()
                    .map(|then| since(then, at.unix_secs())),
            ),
            Cell::maybe(slot.hsdirs.iter().filter_map(|hsdir| hsdir.counter).max()),
        ]);
    }
    table
}

fn slot_in_words(slot: &SlotReport) -> String {
    let name = match slot.which {
        SlotKind::First => "first",
        SlotKind::Second => "second",
    };
    if slot.client_fetches { format!("{name}, for clients") } else { name.to_owned() }
}

fn past(cluster: &ClusterStatus, paint: Paint, text: &mut String) {
    let skipped = cluster.past.len().saturating_sub(SHOWN_PAST);
    if cluster.past.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", paint.tone(Tone::Head, "LATELY"));
    for event in &cluster.past[skipped..] {
        let tone = if event.alarming { Tone::Bad } else { Tone::Plain };
        let when = Moment::from_unix_secs(event.unix_ms / 1000);
        let _ = writeln!(text, "{when}  {}", paint.tone(tone, &event.text));
    }
}
