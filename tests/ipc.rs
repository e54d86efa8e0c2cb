//! The control sockets over real unix sockets: callers that are wrong, strange, slow, many, or not allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// One place needs it: becoming another user on one thread only.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustbalance::ipc::call::Taken;
use rustbalance::ipc::client::ClientError;
use rustbalance::ipc::frame::MAX_FRAME_BYTES;
use rustbalance::ipc::process::ProcessClient;
use rustbalance::ipc::publisher::{PublisherCall, PublisherClient};
use rustbalance::ipc::server::{self, Limits};
use rustbalance::proto::publish::order::{Candidate, Order};
use rustbalance::proto::publish::report::{Duty, PublisherReport};
use rustbalance::sys::listen::open_unix;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A publisher as far as its control socket is concerned.
struct Daemon {
    _directory: tempfile::TempDir,
    path: PathBuf,
    state: watch::Sender<PublisherReport>,
}

impl Daemon {
    /// Answers like a healthy publisher's main loop.
    fn start(limits: Limits) -> Self {
        Self::start_for(BTreeSet::from([own_uid()]), limits, true)
    }

    /// `answering` false: the main loop is stuck and takes no call from the channel.
    fn start_for(allowed: BTreeSet<u32>, limits: Limits, answering: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("publisher.sock");
        let (state, seen) = watch::channel(PublisherReport::default());
        let (calls, mut inbox) = mpsc::channel(1);
        let listener = tokio::net::UnixListener::from_std(open_unix(&path).unwrap()).unwrap();
        tokio::spawn(server::serve(listener, allowed, calls, limits));
        let state_in_loop = state.clone();
        tokio::spawn(async move {
            if !answering {
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            while let Some(call) = inbox.recv().await {
                match call {
                    PublisherCall::Status(reply) => reply.answer(&*seen.borrow()),
                    PublisherCall::Watch(watcher) => watcher.follow(seen.clone()),
                    PublisherCall::Publish { order: Some(order), reply } => {
                        state_in_loop
                            .send_modify(|report| report.duty = Duty::Publishing { epoch: order.epoch });
                        reply.answer(&Taken {});
                    }
                    PublisherCall::Publish { order: None, reply } => reply.refuse("it never published"),
                    PublisherCall::Mute { muted, reply } => {
                        state_in_loop.send_modify(|report| report.muted = muted);
                        reply.answer(&Taken {});
                    }
                }
            }
        });
        Self { _directory: directory, path, state }
    }

    async fn client(&self) -> PublisherClient {
        PublisherClient::connect(&self.path).await.unwrap()
    }
}

/// Speaks raw bytes, on a thread of its own, since it blocks.
async fn raw<T: Send + 'static>(path: &Path, speak: impl FnOnce(UnixStream) -> T + Send + 'static) -> T {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        speak(stream)
    })
    .await
    .unwrap()
}

/// The next reply; `None` when the daemon hung up.
fn reply(stream: &mut UnixStream) -> Option<Value> {
    let mut frame = Vec::new();
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(1) if byte[0] == 0 => return Some(serde_json::from_slice(&frame).unwrap()),
            Ok(1) => frame.push(byte[0]),
            Ok(_) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no reply in time: {error}"),
        }
    }
}

fn frame(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(0);
    bytes
}

fn status_frame() -> Vec<u8> {
    frame(&json!({"method": "io.rustbalance.Publisher.Status"}))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_refusals_on_one_connection() {
    let daemon = Daemon::start(Limits::default());
    let mut client = daemon.client().await;
    assert_eq!(client.status().await.unwrap().duty, Duty::Idle);
    let node = "alpha".parse().unwrap();
    let order = Order {
        epoch: 7,
        candidates: vec![Candidate { node, points: vec![] }],
        capabilities: None,
        last_counters: vec![(1, 2)],
    };
    client.publish(Some(order)).await.unwrap();
    assert_eq!(client.status().await.unwrap().duty, Duty::Publishing { epoch: 7 });
    let ClientError::Refused { error, parameters } = client.publish(None).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(error, "io.rustbalance.Refused");
    assert_eq!(parameters, json!({"reason": "it never published"}));
    assert_eq!(client.status().await.unwrap().duty, Duty::Publishing { epoch: 7 });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_or_wrong_is_answered_and_the_connection_goes_on() {
    let daemon = Daemon::start(Limits::default());
    raw(&daemon.path, |mut stream| {
        let cases = [
            (json!({"method": "io.rustbalance.Publisher.Explode", "parameters": {"a": 1}}), "MethodNotFound"),
            (json!({"method": "io.rustbalance.Other.Status", "parameters": {}}), "InterfaceNotFound"),
            (json!({"method": "Status"}), "InterfaceNotFound"),
            (json!({"method": ""}), "InterfaceNotFound"),
            (
                json!({"method": "io.rustbalance.Publisher.Status", "parameters": {"x": 1}}),
                "InvalidParameter",
            ),
            (
                json!({"method": "io.rustbalance.Publisher.Publish", "parameters": {"order": 3}}),
                "InvalidParameter",
            ),
            (
                json!({"method": "io.rustbalance.Publisher.Publish", "parameters": {"other": null}}),
                "InvalidParameter",
            ),
        ];
        for (call, error) in cases {
            stream.write_all(&frame(&call)).unwrap();
            let reply = reply(&mut stream).unwrap_or_else(|| panic!("{call}: closed"));
            assert_eq!(reply["error"], format!("org.varlink.service.{error}"), "{call}");
        }
        // The very same connection still works, also with several calls at once and unknown flags.
        let mut three = status_frame();
        three.extend(frame(&json!({"method": "io.rustbalance.Publisher.Status", "upgrade": false})));
        three.extend(frame(&json!({"method": "io.rustbalance.Publisher.Status", "parameters": {}})));
        stream.write_all(&three).unwrap();
        for _ in 0..3 {
            assert_eq!(reply(&mut stream).unwrap()["parameters"]["duty"], "idle");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_at_all_is_answered_before_hanging_up() {
    let daemon = Daemon::start(Limits::default());
    let deep = "[".repeat(100_000);
    let junk: [&[u8]; 6] =
        [b"\0", b"hello\0", b"{}\0", b"[1]\0", b"{\"method\":\"\xff\"}\0", deep.as_bytes()];
    for bytes in junk {
        let mut bytes = bytes.to_vec();
        if bytes.last() != Some(&0) {
            bytes.push(0);
        }
        raw(&daemon.path, move |mut stream| {
            stream.write_all(&bytes).unwrap();
            assert_eq!(reply(&mut stream).unwrap()["error"], "io.rustbalance.Malformed");
            assert_eq!(reply(&mut stream), None);
        })
        .await;
    }
    raw(&daemon.path, |mut stream| {
        // The daemon may hang up before it has taken everything.
        let _ = stream.write_all(&vec![b' '; 3 * MAX_FRAME_BYTES]);
        let answer = reply(&mut stream);
        assert!(answer.is_none_or(|answer| answer["error"] == "io.rustbalance.Malformed"));
    })
    .await;
    assert!(daemon.client().await.status().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_may_come_in_pieces_but_not_for_ever() {
    let limits = Limits { idle: Duration::from_millis(700), ..Limits::default() };
    let daemon = Daemon::start(limits);
    raw(&daemon.path, |mut stream| {
        for byte in status_frame() {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(reply(&mut stream).unwrap()["parameters"]["duty"], "idle");
        stream.write_all(b"{\"method\":").unwrap();
        let start = Instant::now();
        assert_eq!(reply(&mut stream), None);
        assert!(start.elapsed() > Duration::from_millis(500), "{:?}", start.elapsed());
    })
    .await;
    // A frame that the end of the connection cuts short is not a call.
    raw(&daemon.path, |mut stream| {
        stream.write_all(br#"{"method":"io.rustbalance.Publisher.Status"}"#).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(reply(&mut stream), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_the_present_every_change_and_the_end() {
    let daemon = Daemon::start(Limits::default());
    let mut watch = daemon.client().await.watch().await.unwrap();
    assert_eq!(watch.next().await.unwrap().duty, Duty::Idle);
    for epoch in 1..=3 {
        daemon.state.send_modify(|report| report.duty = Duty::Publishing { epoch });
        assert_eq!(watch.next().await.unwrap().duty, Duty::Publishing { epoch });
    }
    // Without `more` the present state is one reply.
    raw(&daemon.path, |mut stream| {
        stream.write_all(&frame(&json!({"method": "io.rustbalance.Publisher.Watch"}))).unwrap();
        let answer = reply(&mut stream).unwrap();
        assert_eq!(answer["parameters"]["duty"]["publishing"]["epoch"], 3);
        assert!(answer.get("continues").is_none());
        stream.write_all(&status_frame()).unwrap();
        assert!(reply(&mut stream).is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_blocks_nobody_and_is_given_up() {
    let limits = Limits { write: Duration::from_secs(1), connections: 2, ..Limits::default() };
    let daemon = Daemon::start(limits);
    let mut sloth = UnixStream::connect(&daemon.path).unwrap();
    sloth.write_all(&frame(&json!({"method": "io.rustbalance.Publisher.Watch", "more": true}))).unwrap();
    let mut client = daemon.client().await;
    let start = Instant::now();
    let mut epoch = 0;
    while start.elapsed() < Duration::from_secs(3) {
        epoch += 1;
        // Big reports, so that the socket's buffer is full after a few of them.
        daemon.state.send_modify(|report| {
            report.duty = Duty::Publishing { epoch };
            report.counters = vec![(u64::MAX, u64::MAX); 2000];
        });
        let asked = Instant::now();
        assert_eq!(client.status().await.unwrap().duty, Duty::Publishing { epoch });
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    // Its place is free again: with room for two, a second caller besides `client` is admitted.
    assert!(daemon.client().await.status().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_come_free_again() {
    let daemon = Daemon::start(Limits { connections: 8, ..Limits::default() });
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = daemon.client().await;
        client.status().await.unwrap();
        clients.push(client);
    }
    for _ in 0..20 {
        raw(&daemon.path, |mut stream| {
            assert_eq!(reply(&mut stream).unwrap()["error"], "io.rustbalance.TooManyConnections");
            assert_eq!(reply(&mut stream), None);
        })
        .await;
    }
    clients.pop();
    let mut admitted = false;
    for _ in 0..100 {
        admitted = daemon.client().await.status().await.is_ok();
        if admitted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(admitted);
    // Two hundred callers, one after the other: no place is lost.
    for _ in 0..200 {
        let _ = daemon.client().await.status().await;
    }
    for client in &mut clients {
        assert!(client.status().await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_main_loop_is_an_error_in_bounded_time() {
    let limits = Limits { answer: Duration::from_millis(300), ..Limits::default() };
    let daemon = Daemon::start_for(BTreeSet::from([own_uid()]), limits, false);
    let mut client = daemon.client().await;
    // The channel takes one call; the next one does not even get into it. Both are answered.
    for _ in 0..3 {
        let start = Instant::now();
        let ClientError::Refused { error, .. } = client.status().await.unwrap_err() else { panic!() };
        assert_eq!(error, "io.rustbalance.TimedOut");
        assert!(start.elapsed() < Duration::from_secs(3));
    }
    // A caller that gives up half-way cannot take the late answer for that to its next question.
    assert!(tokio::time::timeout(Duration::from_millis(50), client.status()).await.is_err());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(matches!(client.status().await, Err(ClientError::Broken(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_are_told_so_and_get_nothing() {
    let daemon = Daemon::start_for(BTreeSet::from([own_uid() + 1]), Limits::default(), true);
    let ClientError::Refused { error, .. } = daemon.client().await.status().await.unwrap_err() else {
        panic!()
    };
    assert_eq!(error, "org.varlink.service.PermissionDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_uid_is_the_kernels_word() {
    if own_uid() != 0 {
        eprintln!(
            "not root: another user cannot be played here; see other_users_are_told_so_and_get_nothing"
        );
        return;
    }
    let daemon = Daemon::start(Limits::default());
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    open(daemon.path.parent().unwrap(), 0o755);
    let path = daemon.path.clone();
    let as_nobody = move |path: PathBuf| {
        std::thread::spawn(move || {
            // SAFETY: the raw calls change the credentials of this thread only, and it ends with the closure.
            let changed = unsafe {
                let none = std::ptr::null::<u32>();
                [
                    nix::libc::syscall(nix::libc::SYS_setgroups, 0, none),
                    nix::libc::syscall(nix::libc::SYS_setresgid, 65534, 65534, 65534),
                    nix::libc::syscall(nix::libc::SYS_setresuid, 65534, 65534, 65534),
                ]
            };
            assert_eq!(changed, [0; 3]);
            UnixStream::connect(path).map(|mut stream| reply(&mut stream).unwrap()["error"].clone())
        })
        .join()
        .unwrap()
    };
    // The socket's mode keeps strangers out already ...
    let error = as_nobody(path.clone()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    // ... and where a wrong mode lets them in, the uid does not.
    open(&path, 0o666);
    let answer = tokio::task::spawn_blocking(move || as_nobody(path)).await.unwrap();
    assert_eq!(answer.unwrap(), "org.varlink.service.PermissionDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_files_are_counted_also_while_the_main_loop_is_stuck() {
    let daemon = Daemon::start_for(BTreeSet::from([own_uid()]), Limits::default(), false);
    let mut client = ProcessClient::connect(&daemon.path).await.unwrap();
    let before = client.status().await.unwrap();
    assert!(before.open_files_limit >= before.open_files, "{before:?}");
    // Other tests of this process open and close some of theirs meanwhile.
    let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let after = client.status().await.unwrap();
    assert!(after.open_files > before.open_files + 100, "{before:?} {after:?}");
    drop(files);
    let call =
        |method: &str| json!({ "method": format!("io.rustbalance.Process.{method}"), "parameters": {} });
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    stream.write_all(format!("{}\0", call("Kill")).as_bytes()).unwrap();
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).unwrap();
    let answer: Value = serde_json::from_slice(&answer[..length - 1]).unwrap();
    assert_eq!(answer["error"], "org.varlink.service.MethodNotFound");
}
