//! The publisher's binary between two scripted tors, for faults that a real tor cannot be made to have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fake_tor;
mod network;
mod node;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustbalance::ipc::process::ProcessClient;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::publish::report::{Alarm, Duty, HsDirState, TorState};
use rustbalance::sys::clock::unix_secs;
use rustbalance::vault::cost::Cost;
use rustbalance::vault::passphrase::Passphrase;
use rustbalance::vault::sealed::{Content, Sealed};
use rustbalance::vault::{armour, field};

use network::{CAPABILITIES, fingerprint, point, relay, service};
use node::{Node, PATIENCE, Setup, command, write_files};

/// Less than any timer of the publisher that could cover up a missed event, and enough for a debug build on a busy
/// machine.
const PROMPT: Duration = Duration::from_secs(10);
const PASSPHRASE: &str = "correct horse battery staple";
const BOTH: Setup = Setup { standby: true };

#[tokio::test(flavor = "multi_thread")]
async fn an_order_puts_the_merged_descriptor_on_all_hsdirs_of_both_periods() {
    let mut node = Node::start(BOTH).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(node.posts().len(), 0, "posted without an order");
    assert_eq!(node.status().await.duty, Duty::Idle);

    node.order(&[point(3, 3), point(1, 4)]).await;
    // Relay 1 is taken by both nodes; one of the two points there gives way.
    let (report, _) = node
        .until("it is verified", |report| {
            let clients = report.slots.iter().find(|slot| slot.client_fetches).unwrap();
            clients.hsdirs.iter().all(|hsdir| hsdir.state == HsDirState::Verified)
        })
        .await;
    let posts = node.posts();
    let plan = node.network.plan();
    assert_eq!(posts[0].period, plan.clients_slot().slot.period.num, "the clients' descriptor goes first");
    for post in &posts {
        assert_eq!(post.tor, "b");
        let relays: BTreeSet<_> = post.opened.points.iter().map(|p| p.relay_id().unwrap()).collect();
        assert_eq!(relays, BTreeSet::from([relay(1), relay(2), relay(3)]));
        assert_eq!(post.opened.capabilities, CAPABILITIES);
        let slot = plan.slots.iter().find(|slot| slot.slot.period.num == post.period).unwrap();
        let tors = RevisionCounter::at(&slot.keys, slot.slot.counter_epoch, unix_secs());
        assert!(post.counter <= tors.0, "tor's own publishing would be rejected after ours");
    }
    let reached: BTreeSet<_> = posts.iter().flat_map(|p| p.hsdirs.iter().map(|id| (p.period, *id))).collect();
    let wanted =
        node.network.responsible().into_iter().flat_map(|(p, ids)| ids.into_iter().map(move |id| (p, id)));
    assert_eq!(reached, wanted.collect());
    assert_eq!((report.duty, report.alarms), (Duty::Publishing { epoch: 7 }, vec![]));
    let until = report.slots.iter().map(|slot| slot.certified_until).chain([report.points_certified_until]);
    for until in until {
        let hours = (until.unwrap() - unix_secs()).div_ceil(3600);
        assert!((52..=54).contains(&hours), "tor's certificates last 54 hours from the hour: {hours}");
    }
    assert_eq!(report.capabilities, Some(CAPABILITIES));
    assert!(report.counters.iter().all(|(period, counter)| {
        posts.iter().filter(|post| post.period == *period).map(|post| post.counter).max() == Some(*counter)
    }));

    // And when the lease goes elsewhere, no more.
    node.publish(None).await;
    let before = node.posts().len();
    node.a.knows().own = Some(node.network.own_descriptor(&[point(9, 9)]));
    node.a.tell("HS_DESC CREATED @ UNKNOWN UNKNOWN");
    node.until("the points are seen", |report| report.points.len() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(node.posts().len(), before);
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_serving_tor_is_published_at_once() {
    let mut node = Node::start(BOTH).await;
    node.order(&[point(3, 3)]).await;
    node.until_published(&[1, 2, 3]).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    node.a.knows().own = Some(node.network.own_descriptor(&[point(4, 5), point(5, 6)]));
    node.a.tell("HS_DESC CREATED @ UNKNOWN UNKNOWN");
    let (_, took) = node.until_published(&[3, 5, 6]).await;
    eprintln!("rotation published after {took:?}");
    assert!(took < PROMPT, "{took:?}");
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_muted_node_gives_up_its_points_and_keeps_its_clients() {
    let mut node = Node::start(BOTH).await;
    node.order(&[point(3, 3)]).await;
    node.until_published(&[1, 2, 3]).await;
    let (report, _) = node.until("all HSDirs agree", |report| report.published.len() == 2).await;
    assert_eq!(report.published.iter().map(ToString::to_string).collect::<Vec<_>>(), ["one", "two"]);
    let service = service().service_id();
    let circuit = |id: u8, purpose: &str, whose: &str| {
        let path = format!("${}~x,${}~y", fingerprint(relay(9)), fingerprint(relay(1)));
        format!("{id} BUILT {path} PURPOSE={purpose} HS_STATE=HSSI_ESTABLISHED REND_QUERY={whose}")
    };
    node.a.knows().circuits = vec![
        circuit(1, "HS_SERVICE_INTRO", &service),
        circuit(2, "HS_SERVICE_REND", &service),
        circuit(3, "HS_SERVICE_INTRO", &"a".repeat(56)),
        circuit(4, "HS_SERVICE_INTRO", &service),
    ];
    node.mute(true).await;
    node.until("its points are withdrawn", |report| report.muted && report.points.is_empty()).await;
    node.until_published(&[3]).await;
    let began = std::time::Instant::now();
    while node.a.knows().circuits.len() > 2 {
        assert!(began.elapsed() < PATIENCE, "{:?}", node.a.knows().circuits);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let closed_at = node.a.knows().closed_at.clone();
    let pause = closed_at[1].duration_since(closed_at[0]);
    assert!(
        pause >= Duration::from_millis(90),
        "the second DESTROY cell would wait for other cells: {pause:?}"
    );
    // What tor builds again is closed before it is there; one that has gone meanwhile does no harm.
    let building = "CIRC 7 EXTENDED PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING REND_QUERY=@";
    node.a.tell(building);
    while !node.a.knows().commands.iter().any(|command| command == "CLOSECIRCUIT 7") {
        assert!(began.elapsed() < PATIENCE, "{:?}", node.a.knows().commands);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left: Vec<_> = node.a.knows().circuits.iter().map(|circuit| circuit.as_bytes()[0]).collect();
    assert_eq!(left, *b"23", "connections of clients and other services are left alone");
    node.mute(false).await;
    node.until("it has points again, but tells of none that it gave up", |report| {
        !report.muted && report.points.is_empty()
    })
    .await;
    // The circuit to relay 1 is there again after all, and tor has found another point for the other one.
    let path = format!("${}~x,${}~y", fingerprint(relay(9)), fingerprint(relay(1)));
    let established = "PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED REND_QUERY=@";
    node.a.tell(&format!("CIRC_MINOR 8 PURPOSE_CHANGED {path} {established} OLD_HS_STATE=HSSI_CONNECTING"));
    node.until_published(&[1, 3]).await;
    node.a.knows().own = Some(node.network.own_descriptor(&[point(1, 1), point(5, 6)]));
    node.a.tell("HS_DESC CREATED @ UNKNOWN UNKNOWN");
    node.until_published(&[1, 3, 6]).await;
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_introduction_circuit_that_goes_by_an_old_guard_is_made_anew_after_others_were_closed() {
    let node = Node::start(BOTH).await;
    let path = |guard, point| format!("${}~x,${}~y", fingerprint(relay(guard)), fingerprint(relay(point)));
    let intro = "PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED";
    node.a.knows().circuits =
        vec![format!("5 BUILT {} {intro}", path(9, 3)), format!("6 BUILT {} {intro}", path(8, 3))];
    for number in [1, 2] {
        node.a.tell(&format!("CIRC {number} CLOSED {} {intro} REASON=FINISHED", path(9, number)));
    }
    node.a.tell(&format!("CIRC 7 EXTENDED ${}~x PURPOSE=HS_SERVICE_INTRO", fingerprint(relay(8))));
    let began = std::time::Instant::now();
    while !node.a.knows().commands.iter().any(|command| command == "CLOSECIRCUIT 5") {
        assert!(began.elapsed() < PATIENCE, "{:?}", node.a.knows().commands);
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.a.tell("BW 1 1");
    }
    assert_eq!(node.a.knows().circuits.len(), 1, "the other one is left alone");
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tor_that_hears_nothing_of_the_network_counts_as_gone_until_it_does() {
    let mut node = Node::start(BOTH).await;
    node.order(&[point(3, 3)]).await;
    node.until_published(&[1, 2, 3]).await;
    let silence = |seconds| (0..seconds).for_each(|_| node.a.tell("BW 0 0"));
    silence(10);
    let began = std::time::Instant::now();
    while !node.a.knows().commands.iter().any(|command| command == "EXTENDCIRCUIT 0") {
        assert!(began.elapsed() < PATIENCE, "{:?}", node.a.knows().commands);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The circuit that it has begun is told before these seconds pass.
    tokio::time::sleep(Duration::from_millis(100)).await;
    silence(4);
    node.a.tell("BW 0 0");
    node.until_published(&[3]).await;
    node.until("the tor counts as gone", |report| report.serving_tor == TorState::Away).await;
    // What it tells now is not believed, and it believes in its points all the time.
    node.a.tell("NEWCONSENSUS");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(node.status().await.serving_tor, TorState::Away);
    node.a.tell("CIRC 99 EXTENDED PURPOSE=GENERAL");
    node.until_published(&[1, 2, 3]).await;
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_tor_that_dies_leaves_the_descriptor_at_once_and_returns() {
    let mut node = Node::start(BOTH).await;
    let mut watch = node.watch().await;
    node.order(&[point(3, 3)]).await;
    node.until_published(&[1, 2, 3]).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let killed = std::time::Instant::now();
    node.a.kill();
    // The coordinator learns it as quickly, to tell the other nodes.
    while !watch.next().await.unwrap().points.is_empty() {}
    eprintln!("a dead tor was reported after {:?}", killed.elapsed());
    let (report, took) = node.until_published(&[3]).await;
    eprintln!("and its points were out of the descriptor after {took:?}");
    assert!(took < PROMPT, "{took:?}");
    assert_eq!((report.serving_tor, report.standby_tor), (TorState::Away, TorState::Ready));

    node.a.knows().own = Some(node.network.own_descriptor(&[point(6, 7)]));
    node.a.start();
    let (_, took) = node.until_published(&[3, 7]).await;
    eprintln!("a tor that came back was published after {took:?}");
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_descriptor_stays_when_a_lone_nodes_tor_dies() {
    let mut node = Node::start(BOTH).await;
    node.order(&[]).await;
    node.until_published(&[1, 2]).await;
    node.a.kill();
    let (report, _) = node.until("it is an alarm", |report| !report.alarms.is_empty()).await;
    assert_eq!((report.points, report.alarms), (vec![], vec![Alarm::AllPointsGone]));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(node.posts().iter().all(|post| post.keys() == BTreeSet::from([1, 2])));
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_hsdir_is_tried_again_with_a_higher_counter() {
    let mut node = Node::start(BOTH).await;
    let clients = node.network.plan().clients_slot().clone();
    let hung = clients.hsdirs.first().unwrap().rsa_id;
    node.hsdirs().silent.insert(hung);
    node.order(&[]).await;
    let is_hung = |report: &rustbalance::proto::publish::report::PublisherReport| {
        let slot = report.slots.iter().find(|slot| slot.client_fetches).unwrap();
        let (behind, done): (Vec<_>, Vec<_>) =
            slot.hsdirs.iter().partition(|hsdir| hsdir.fingerprint == fingerprint(hung));
        behind[0].answers.silent >= 1 && done.iter().all(|hsdir| hsdir.state == HsDirState::Verified)
    };
    node.until("the others are done and one is silent", is_hung).await;
    node.hsdirs().silent.clear();
    let (report, _) = node.until_published(&[1, 2]).await;
    let to_it: Vec<_> = node.posts().into_iter().filter(|p| p.hsdirs.contains(&hung)).collect();
    assert!(
        to_it.windows(2).all(|pair| pair[0].period != pair[1].period || pair[0].counter < pair[1].counter)
    );
    let first_gap = to_it[1].at - to_it[0].at;
    // Five seconds between the decisions; signing takes a part of a second in a debug build.
    assert!(first_gap >= Duration::from_secs(4), "{first_gap:?}");
    assert_eq!(report.alarms, []);
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_answered_by_looking_and_going_higher() {
    let mut node = Node::start(BOTH).await;
    let clients = node.network.plan().clients_slot().clone();
    let (hsdir, blinded) = (clients.hsdirs.first().unwrap().rsa_id, clients.keys.id());
    node.order(&[point(3, 3)]).await;
    node.until_published(&[1, 2, 3]).await;
    // Another publisher, hours ahead of us by its clock, has posted there.
    let ahead = rustbalance::proto::onion::descriptor::build::DescriptorBuilder {
        blind: &clients.keys,
        subcredential: service().subcredential(&blinded),
        counter: RevisionCounter(7_000_000_000),
        points: &[point(8, 8)],
        clients: &[],
        capabilities: CAPABILITIES,
        now_unix_secs: unix_secs(),
    };
    let text = ahead.build(&mut rand::rng()).unwrap();
    node.hsdirs().stored.insert((hsdir, blinded), (7_000_000_000, text));
    node.order(&[]).await;
    let period = clients.slot.period.num;
    let above = |report: &rustbalance::proto::publish::report::PublisherReport| {
        report.counters.iter().any(|&(p, counter)| p == period && counter == 7_000_000_001)
    };
    let (_, took) = node.until("we are above it", above).await;
    node.until_published(&[1, 2]).await;
    assert!(took < PROMPT, "{took:?}");
    let stored = node.hsdirs().stored.get(&(hsdir, blinded)).unwrap().0;
    assert_eq!(stored, 7_000_000_001);
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsdir_that_tor_does_not_know_does_not_spoil_the_post_to_the_others() {
    let mut node = Node::start(BOTH).await;
    let clients = node.network.plan().clients_slot().clone();
    let unknown = clients.hsdirs.first().unwrap().rsa_id;
    node.b.knows().unknown.insert(unknown);
    node.order(&[]).await;
    let (report, took) = node
        .until("the others are done", |report| {
            let slot = report.slots.iter().find(|slot| slot.client_fetches).unwrap();
            slot.hsdirs.iter().all(|hsdir| match hsdir.state {
                HsDirState::Unknown => hsdir.fingerprint == fingerprint(unknown),
                state => state == HsDirState::Verified,
            })
        })
        .await;
    assert!(took < PROMPT, "{took:?}");
    assert_eq!(report.alarms, []);
    // A new consensus, and tor knows it.
    node.b.knows().unknown.clear();
    node.b.tell("NEWCONSENSUS");
    node.until_published(&[1, 2]).await;
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_tor_takes_over_when_the_uploading_one_dies_mid_post() {
    let mut node = Node::start(BOTH).await;
    node.b.knows().dies_after_posts = Some(1);
    node.order(&[point(3, 3)]).await;
    let (report, took) = node.until_published(&[1, 2, 3]).await;
    eprintln!("the other tor had published after {took:?}");
    assert!(took < PROMPT, "{took:?}");
    let posts = node.posts();
    assert_eq!(posts.iter().filter(|post| post.tor == "b").count(), 1);
    assert!(posts.iter().any(|post| post.tor == "a"));
    assert_eq!(report.standby_tor, TorState::Away);

    // It comes back, and carries the next posts again.
    node.b.kill();
    node.b.knows().dies_after_posts = None;
    node.b.start();
    node.until("it is back", |report| report.standby_tor == TorState::Ready).await;
    let before = node.posts().len();
    node.order(&[]).await;
    node.until_published(&[1, 2]).await;
    assert!(node.posts()[before..].iter().all(|post| post.tor == "b"));
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_whose_relay_has_left_the_network_is_told_and_not_published() {
    let mut node = Node::start(BOTH).await;
    node.order(&[]).await;
    node.until_published(&[1, 2]).await;
    let shrunk = node.network.without(1);
    node.b.knows().network = shrunk.clone();
    node.b.tell("NEWCONSENSUS");
    // The serving tor still knows the relay: it may only be behind, or ahead.
    node.until("it is left out", |report| report.slots.iter().all(|slot| slot.points == 1)).await;
    assert_eq!(node.status().await.points_lost, 0);
    node.a.knows().network = shrunk;
    node.a.tell("NEWCONSENSUS");
    let (report, _) = node.until("it is lost", |report| report.points_lost == 1).await;
    assert_eq!(report.points.len(), 2, "tor still tells of it");
    node.a.knows().own = Some(node.network.own_descriptor(&[point(2, 2), point(5, 6)]));
    node.a.tell("HS_DESC CREATED @ UNKNOWN UNKNOWN");
    node.until("another was taken", |report| report.points_lost == 0 && report.points.len() == 2).await;
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tor_is_enough() {
    let mut node = Node::start(Setup { standby: false }).await;
    node.order(&[]).await;
    let (report, _) = node.until_published(&[1, 2]).await;
    assert!(node.posts().iter().all(|post| post.tor == "a"));
    assert_eq!(report.alarms, []);
    // Confined as it is, it can still count its own files.
    let socket = node.directory.path().join("publisher.sock");
    let uses = ProcessClient::connect(&socket).await.unwrap().status().await.unwrap();
    assert!(uses.open_files > 3 && uses.open_files < uses.open_files_limit, "{uses:?}");
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_descriptor_that_cannot_be_opened_is_an_alarm_and_costs_no_points() {
    let mut node = Node::start(BOTH).await;
    node.order(&[]).await;
    node.until_published(&[1, 2]).await;
    node.a.knows().own = Some("hs-descriptor 3\n".to_owned());
    node.a.tell("HS_DESC CREATED @ UNKNOWN UNKNOWN");
    let (report, _) = node.until("it is an alarm", |report| !report.alarms.is_empty()).await;
    assert_eq!((report.points.len(), report.alarms), (2, vec![Alarm::OwnDescriptorUnreadable]));
    assert!(node.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pace_is_taken_over_and_another_key_waits_for_the_next_start() {
    let mut node = Node::start(BOTH).await;
    let config = node.directory.path().join("config.toml");
    let first = std::fs::read_to_string(&config).unwrap();
    let said = async |node: &Node, words: &str| {
        let begin = std::time::Instant::now();
        while !node.log().contains(words) {
            assert!(begin.elapsed() < PATIENCE, "{words}: {}", node.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reads = |node: &Node| {
        let knows = node.a.knows();
        knows.commands.iter().filter(|line| line.contains("hs/service/desc/id")).count()
    };
    std::fs::write(&config, format!("{first}\n[publisher]\npoll_interval_secs = 0.5\n")).unwrap();
    node.signal(nix::sys::signal::Signal::SIGHUP);
    said(&node, "config.toml:19: publisher.poll_interval_secs: 0.5 is out of range").await;

    let second = first.replace("/key\"", "/other\"").replace("level = \"error\"", "level = \"info\"");
    std::fs::write(&config, format!("{second}\n[publisher]\npoll_interval_secs = 1\n")).unwrap();
    node.signal(nix::sys::signal::Signal::SIGHUP);
    said(&node, "taken over: log.level, publisher.poll_interval_secs").await;
    said(&node, "started again: service.master_key_file").await;
    // By default it reads every 30 s.
    let (before, begin) = (reads(&node), std::time::Instant::now());
    while reads(&node) < before + 5 {
        assert!(begin.elapsed() < Duration::from_secs(20), "{} reads", reads(&node) - before);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(node.status().await.points.len(), 2);
    assert!(node.stop().await.success());
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_a_sentence_and_code_78() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&[u8], &str); 2] =
        [(&[1; 32], "service.address is "), (b"not a key", "no onion service key of a known form")];
    for (key, sentence) in cases {
        let output = command(&write_files(&directory, key)).output().await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains(sentence), "{text}");
    }
}

#[tokio::test]
async fn the_service_manager_hears_of_it_while_there_is_no_tor_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let manager = tokio::net::UnixDatagram::bind(directory.path().join("notify")).unwrap();
    let config = write_files(&directory, &network::keypair().to_tor_secret_key_file()[..]);
    let mut process = command(&config)
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .env("WATCHDOG_USEC", "500000")
        .spawn()
        .unwrap();
    let mut heard = String::new();
    let hear = async |heard: &mut String, wanted: &str, times: usize| {
        while heard.matches(wanted).count() < times {
            let mut buffer = [0; 4096];
            let length = tokio::time::timeout(PATIENCE, manager.recv(&mut buffer)).await.unwrap().unwrap();
            heard.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    };
    hear(&mut heard, "READY=1", 1).await;
    hear(&mut heard, "WATCHDOG=1", 3).await;
    let pid = nix::unistd::Pid::from_raw(process.id().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    hear(&mut heard, "STOPPING=1", 1).await;
    assert!(process.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_sealed_key_is_opened_under_the_passphrase_of_a_credential_a_file_or_a_variable() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let passphrase = Passphrase::new(PASSPHRASE).unwrap();
    let key = network::keypair().to_tor_secret_key_file();
    let sealed = Sealed::seal(Content::File, &key[..], &passphrase, Cost::DEFAULT, &mut rand::rng()).unwrap();
    let config = write_files(&directory, armour::write(&sealed).as_bytes());
    let without = std::fs::read_to_string(&config).unwrap();
    for (name, content) in
        [("rustbalance-passphrase", PASSPHRASE), ("wrong", "another passphrase"), ("empty", "\n")]
    {
        std::fs::write(at.join(name), content).unwrap();
        std::fs::set_permissions(at.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let vault = |line: &str| std::fs::write(&config, format!("{without}\n[vault]\n{line}\n")).unwrap();
    let file = |name: &str| format!("passphrase_file = \"{}\"", at.join(name).display());

    let refused = async |credentials: bool, said: &str| {
        let mut command = command(&config);
        if credentials {
            command.env("CREDENTIALS_DIRECTORY", at);
        }
        let output = command.output().await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains("service.master_key_file: ") && text.contains(said), "{said}: {text}");
        assert!(!text.contains(PASSPHRASE), "{text}");
    };
    vault("");
    refused(false, "it is sealed, and there is no passphrase: no systemd credential rustbalance-passphrase")
        .await;
    vault(&file("wrong"));
    refused(false, "the passphrase is wrong, or what was sealed has been altered").await;
    vault(&file("empty"));
    refused(false, "exactly one line of text").await;
    vault("passphrase_credential = \"wrong\"");
    refused(true, "the passphrase is wrong, or what was sealed has been altered").await;
    vault("passphrase_variable = \"RB_NOT_SET\"");
    refused(false, "the environment variable RB_NOT_SET is not set").await;

    let manager = tokio::net::UnixDatagram::bind(at.join("notify")).unwrap();
    let serves = async |variable: &str, value: &std::ffi::OsStr| {
        let mut process =
            command(&config).env("NOTIFY_SOCKET", at.join("notify")).env(variable, value).spawn().unwrap();
        let mut buffer = [0; 4096];
        let heard = tokio::time::timeout(PATIENCE, manager.recv(&mut buffer)).await.unwrap().unwrap();
        assert!(str::from_utf8(&buffer[..heard]).unwrap().contains("READY=1"));
        let environ = std::fs::read(format!("/proc/{}/environ", process.id().unwrap())).unwrap();
        assert!(!String::from_utf8_lossy(&environ).contains(PASSPHRASE), "the variable is still there");
        process.kill().await.unwrap();
    };
    // A credential counts before a file, and a file before a variable.
    vault(&file("wrong"));
    serves("CREDENTIALS_DIRECTORY", at.as_os_str()).await;
    vault(&format!("{}\npassphrase_variable = \"RB_NOT_SET\"", file("rustbalance-passphrase")));
    serves("RB_OTHER", "".as_ref()).await;
    vault("passphrase_variable = \"RB_VAULT\"");
    serves("RB_VAULT", PASSPHRASE.as_ref()).await;

    // The key itself, one line, in the configuration.
    let value = Sealed::seal(
        Content::Field,
        data_encoding::HEXLOWER.encode(&[42; 32]).as_bytes(),
        &passphrase,
        Cost::DEFAULT,
        &mut rand::rng(),
    );
    let line = format!("master_key = \"{}\"", field::write(&value.unwrap()));
    let key_file = format!("master_key_file = \"{}/key\"", at.display());
    std::fs::write(
        &config,
        format!("{}\n[vault]\n{}\n", without.replace(&key_file, &line), file("rustbalance-passphrase")),
    )
    .unwrap();
    serves("RB_OTHER", "".as_ref()).await;
}
