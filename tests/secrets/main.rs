//! Real daemons with known secrets: none of them is found where it does not belong. Each search is shown to be one that
//! would find it.
//!
//! Needs root, or a kernel that allows unprivileged user namespaces, `/dev/net/tun`, util-linux and iproute2.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs
)]
// What is shared with the tests of the publisher and the coordinator can do more than is needed here.
#![allow(dead_code)]

#[path = "../publisher/fake_tor.rs"]
mod fake_tor;
mod memory;
#[path = "../publisher/network.rs"]
mod network;
mod node;
#[path = "../coordinator/place.rs"]
mod place;
mod search;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::node::{DAEMONS, Node, PASSPHRASE};
use crate::place::{Place, with_namespaces};
use crate::search::{files_below, find};

#[test]
fn secrets_are_found_nowhere_but_in_memory() {
    with_namespaces("secrets_are_found_nowhere_but_in_memory", || {
        let (mut places, _hub) = Place::joined(1);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut node = Node::start(places.pop().unwrap()).await;
            node.live_through_something().await;
            search_what_is_outside(&node);
            search_memory(&node);
            abort_and_search_for_cores(&mut node);
        });
    });
}

/// Logs, what the service manager was told, what callers were answered, `/proc`, and the disk.
fn search_what_is_outside(node: &Node) {
    let mut looked_at = 0;
    let mut clean = |what: &str, bytes: &[u8]| {
        looked_at += bytes.len();
        let found = find(&node.secrets, bytes);
        assert!(found.is_empty(), "{what}: {found:?}");
    };
    for daemon in DAEMONS {
        let log = node.log(daemon);
        assert!(
            daemon == "proxy" || log.contains("TRACE") || log.contains("DEBUG"),
            "{daemon} logs less than it could"
        );
        assert!(log.contains("the new configuration is refused") && log.lines().count() > 4, "{log}");
        clean(&format!("the log of {daemon}"), log.as_bytes());
        for (name, content) in node.proc(daemon) {
            clean(&format!("/proc of {daemon}, {name}"), &content);
        }
    }
    clean("notifications", &node.notifications());
    assert!(node.answers.len() > 1000, "callers were answered next to nothing");
    clean("what callers were answered", &node.answers);
    let state = files_below(&node.state());
    assert!(
        state.iter().any(|(path, content)| path.ends_with("memory.json") && content.len() > 100),
        "{state:?}"
    );
    for (path, content) in files_below(&node.outside()) {
        clean(&path, &content);
    }
    println!("searched {looked_at} bytes for {} secrets", node.secrets.len());

    // The same searches find what is planted.
    for needle in &node.secrets {
        for (form, bytes) in needle.forms() {
            let planted = node.state().join("planted");
            std::fs::write(&planted, [b"some words", bytes, b"and more"].concat()).unwrap();
            let found = files_below(&node.state())
                .iter()
                .any(|(_, content)| !find(&node.secrets, content).is_empty());
            assert!(found, "{form} was planted and not found");
            std::fs::remove_file(planted).unwrap();
        }
    }
}

/// That the secrets are in the daemons at all; and that only root could see it.
fn search_memory(node: &Node) {
    for (daemon, expected) in [
        ("publisher", &["the scalar of the onion key", "tor's password"][..]),
        ("coordinator", &["the WireGuard key", "the cluster token"][..]),
    ] {
        let found = find(&node.secrets, &memory::of(node.pid(daemon)));
        for name in expected {
            assert!(
                found.iter().any(|found| found.starts_with(name)),
                "{daemon}: {name} is not among {found:?}"
            );
        }
        // The passphrase came in a variable; it was used, and is gone.
        assert!(!found.iter().any(|found| found.starts_with("the passphrase (raw)")), "{daemon}: {found:?}");
    }
    for daemon in DAEMONS {
        let status = std::fs::metadata(format!("/proc/{}/environ", node.pid(daemon))).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&status), 0, "{daemon} is dumpable");
    }
}

/// A crash leaves no core, where one that is not protected leaves one with its secrets.
fn abort_and_search_for_cores(node: &mut Node) {
    let (status, cores) = memory::abort_unprotected(&node.place, &node.cores(), PASSPHRASE);
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    if std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with('|') {
        // A handler takes it; that it got one is all that can be seen.
        assert!(status.core_dumped(), "this kernel dumps no cores, so nothing can be shown");
    } else {
        assert!(
            cores.iter().any(|core| !find(&node.secrets, core).is_empty()),
            "the control left no core with its secret"
        );
    }
    memory::clear(&node.cores());
    for daemon in DAEMONS {
        let status = node.abort(daemon, Duration::from_secs(10));
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{daemon}");
        assert!(!status.core_dumped(), "{daemon} left a core");
    }
    assert_eq!(files_below(&node.cores()), [], "something was dumped");
    println!("aborted {} daemons without a trace", DAEMONS.len());
}
