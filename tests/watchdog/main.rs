//! The watchdog's binary in a node whose tors, daemons and service manager fail as they are told.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fake_tor;
mod node;
mod service_manager;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use node::Node;
use rustbalance::proto::cluster::status::Lifecycle;
use rustbalance::proto::health::part::{Daemon, Part};
use rustbalance::proto::health::report::{Complaint, HealthReport};
use service_manager::MEMORY_MAX;

async fn start() -> Node {
    Node::start(Path::new(env!("CARGO_BIN_EXE_rustbalance-watchdog"))).await
}

const KILL_A: &str = "KillUnit rustbalance-tor@a.service";
const KILL_B: &str = "KillUnit rustbalance-tor@b.service";

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_tor_that_hangs_is_killed_within_five_seconds_and_all_is_well_again() {
    let node = start().await;
    node.until("all is well", |report| report.complaints.is_empty()).await;
    assert!(node.get("/").await.contains("all is well"));
    let a = node.a.clone();
    node.manager.on(KILL_A, move |_| a.start());
    let begin = Instant::now();
    node.a.hang();
    let took = node.until_called(KILL_A, begin).await;
    println!("killed {took:?} after it hung");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let (report, _) = node.until("it is well again", |report| report.complaints.is_empty()).await;
    assert_eq!(node.manager.calls().len(), 1, "one remedy was enough");
    assert!(report.past[0].text.contains("hangs; tries to kill the tor that serves"), "{report:#?}");
    let metrics = node.get("/metrics").await;
    assert!(metrics.contains("\r\ncontent-type: application/openmetrics-text"), "{metrics}");
    for line in
        ["remedies_total 1", "part_up{part=\"serving_tor\"} 1", "target_up 1", "introduction_points 3"]
    {
        assert!(metrics.contains(&format!("\nrustbalance_{line}\n")), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tor_that_died_and_was_not_started_again_is_started() {
    let node = start().await;
    let b = node.b.clone();
    node.manager.on("StartUnit rustbalance-tor@b.service", move |_| b.start());
    let begin = Instant::now();
    node.b.kill();
    let (_, noticed) = node.until("it is missed", |report| !report.complaints.is_empty()).await;
    assert!(noticed < Duration::from_secs(1), "its connection ended: {noticed:?}");
    let took = node.until_called("StartUnit rustbalance-tor@b.service", begin).await;
    assert!(took >= Duration::from_secs(9), "the service manager has its time first: {took:?}");
    node.until("it is well again", |report| report.complaints.is_empty()).await;
    assert_eq!(node.manager.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_proxy_hangs_serves_no_more_until_that_is_well() {
    let node = start().await;
    let (stopped, started) = (node.a.clone(), node.a.clone());
    node.manager.on("StopUnit rustbalance-tor@a.service", move |_| stopped.kill());
    node.manager.on("StartUnit rustbalance-tor@a.service", move |_| started.start());
    let begin = Instant::now();
    node.proxy_hangs.store(true, Ordering::SeqCst);
    let killed = node.until_called("KillUnit rustbalance-proxy.service", begin).await;
    let fenced = node.until_called("StopUnit rustbalance-tor@a.service", begin).await;
    println!("killed after {killed:?}, fenced after {fenced:?}");
    assert!(killed < fenced && fenced < Duration::from_secs(30), "{killed:?} {fenced:?}");
    node.until("it is known", |report| report.fenced).await;
    assert!(node.get("/metrics").await.contains("\nrustbalance_fenced 1\n"));
    node.proxy_hangs.store(false, Ordering::SeqCst);
    let back = node.until_called("StartUnit rustbalance-tor@a.service", Instant::now()).await;
    assert!(back < Duration::from_secs(25), "{back:?}");
    node.until("all is well", |report| report.complaints.is_empty() && !report.fenced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn introduction_circuits_that_are_missing_are_told() {
    let node = start().await;
    node.until("all is well", |report| report.complaints.is_empty()).await;
    let told = async |failure: &str, words: &str| {
        let is_it = |it: &Complaint| it.failure == failure && it.text.contains(words);
        node.until(words, |report| report.complaints.iter().any(is_it)).await;
    };
    node.b.introduce(0);
    node.a.introduce(4);
    told("few_points", " (4 of 6); this has just begun").await;
    node.a.introduce(0);
    told("no_points", "this has just begun").await;
    told("few_points", " (0 of 6); it follows from another failure: this node has no introduction points")
        .await;
    node.a.introduce(6);
    node.until("they are back", |report| report.complaints.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_uses_nearly_all_it_may_is_told() {
    let node = start().await;
    let proxy = Part::Daemon(Daemon::Proxy);
    // All daemons are played by this process, which has some files open, far from its limit.
    node.until("files are counted", |report| {
        let files = report.vitals.uses(proxy).open_files;
        files.is_some_and(|files| files.used > 3 && files.limit > files.used)
    })
    .await;
    node.manager.set_memory(MEMORY_MAX / 10 * 9 + (1 << 20));
    let is_it = |it: &Complaint| it.failure == "near_limit" && it.part.as_deref() == Some("proxy");
    let is_told = |report: &HealthReport| report.complaints.iter().any(is_it);
    let (report, _) = node.until("it is told", is_told).await;
    let text = &report.complaints.iter().find(|it| is_it(it)).unwrap().text;
    assert!(text.contains(" (memory: 231 of 256 MiB); this has just begun"), "{text}");
    let metrics = node.get("/metrics").await;
    for line in ["part_memory_bytes{part=\"proxy\"} ", "part_max_fds{part=\"publisher\"} "] {
        assert!(metrics.contains(&format!("\nrustbalance_{line}")), "{line}: {metrics}");
    }
    assert!(
        !metrics.contains("part_memory_bytes{part=\"standby_tor\"}"),
        "its unit is not loaded: {metrics}"
    );
    node.manager.set_memory(1 << 20);
    node.until("it is over", |report| !is_told(report)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_could_not_be_installed_is_told_and_installed_anew() {
    const INSTALL: &str = "StartUnit rustbalance-onion-key.service";
    let node = start().await;
    node.until("all is well", |report| report.complaints.is_empty()).await;
    let begin = Instant::now();
    node.manager.fail_key(true);
    let is_told = |report: &HealthReport| {
        report
            .complaints
            .iter()
            .any(|it| it.failure == "uninstalled_key" && it.part.as_deref() == Some("key_installer"))
    };
    node.until("it is told", is_told).await;
    let manager = node.manager.clone();
    node.manager.on(INSTALL, move |_| manager.fail_key(false));
    node.until_called(INSTALL, begin).await;
    node.until("it is over", |report| report.complaints.is_empty()).await;
    assert_eq!(node.manager.calls().len(), 1, "tor was left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_not_loaded_is_told_until_it_is() {
    let node = start().await;
    let told = async |name: &str| {
        let (report, _) = node.until(name, |report| !report.complaints.is_empty()).await;
        assert_eq!(report.complaints.len(), 1, "{report:#?}");
        assert_eq!(report.complaints[0].failure, name);
        report.complaints[0].text.clone()
    };
    node.write_configuration("[proxy]\ntarget = \"unix:/other\"\n");
    let text = told("unread_configuration").await;
    assert!(text.contains(" (proxy.target); this has just begun"), "{text}");
    node.reload();
    node.until("it is loaded", |report| report.complaints.is_empty()).await;
    node.write_configuration("[proxy]\ntarget = 7\n");
    told("wrong_configuration").await;
    node.reload();
    node.until("it is refused", |_| node.log().contains("the new configuration is refused")).await;
    node.write_configuration("[proxy]\ntarget = \"unix:/other\"\n");
    node.until("it is right again", |report| report.complaints.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_manager_refuses_is_told_and_not_asked_for_ever() {
    let node = start().await;
    node.manager.refuse();
    node.b.hang();
    let (report, _) = node
        .until("it is told", |report| {
            report.complaints.iter().any(|it| it.text.contains("could not be carried out"))
        })
        .await;
    assert!(report.complaints[0].text.contains("Permission denied"), "{report:#?}");
    assert!(report.past.iter().any(|deed| deed.alarming), "{report:#?}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let calls = node.manager.calls();
    assert!(calls.len() <= 2 && calls.iter().all(|(_, call)| call == KILL_B), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_stream_tells_what_the_daemons_say_and_when_they_are_gone() {
    let node = start().await;
    let mut stream = node.open("/events").await;
    stream.until("data: <p>beta holds the lease, epoch 1").await;
    {
        let mut said = node.said.lock().unwrap();
        said.coordinator.cluster.holder = Some("alpha".parse().unwrap());
        said.coordinator.cluster.nodes[1].lifecycle = Lifecycle::Unhealthy;
        said.publisher.points = vec![node::point(0xBC)];
    }
    stream.until("data: <p>alpha holds the lease, epoch 1").await;
    stream.until(", at the relays <code title=BCBC").await;
    std::fs::remove_file(node.path("coordinator.sock")).unwrap();
    stream.until("The coordinator of this node does not tell").await;
}
