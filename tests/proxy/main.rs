//! The proxy, the real binary, under a supervisor that starts it as systemd does, with scripted targets and tors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod circuits;
mod content;
mod differential;
mod health;
mod http;
mod integrity;
mod join;
mod peer;
mod reload;
mod sick;
mod streaming;
mod supervisor;
mod targets;
mod tls;
mod unseen;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustbalance::ipc::proxy::{FailureReason, ProxyClient};
use supervisor::Scene;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const ADDRESS: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
/// Longer than anything here takes, even on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// A target that sends back what it gets, and ends when its client ends.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("target = \"tcp://{}\"", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    target
}

/// Sends, waits for the echo.
async fn ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    stream.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    timeout(LONG, stream.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(&echoed, b"ping");
}

/// Whether the stream ends or breaks, without a byte, within `limit`.
async fn ends(stream: &mut (impl AsyncRead + Unpin), limit: Duration) -> bool {
    matches!(timeout(limit, stream.read(&mut [0; 16])).await, Ok(Ok(0) | Err(_)))
}

/// How a client that says `hello` is told that there is nothing for it.
async fn refusal(scene: &Scene, hello: &[u8]) -> std::io::ErrorKind {
    match TcpStream::connect(scene.address()).await {
        Ok(mut client) => {
            // The kernel tells of a reset once, to whichever call comes next.
            match client.write_all(hello).await {
                Ok(()) => timeout(LONG, client.read(&mut [0; 16])).await.unwrap().unwrap_err().kind(),
                Err(error) => error.kind(),
            }
        }
        // The reset can be quicker than the connect call.
        Err(error) => error.kind(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_the_inherited_sockets_and_not_the_configured_one() {
    let scene = Scene::new(&echo().await).with_unix();
    let _daemon = scene.start();
    ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
    ping(&mut UnixStream::connect(scene.unix_path()).await.unwrap()).await;
    let status = scene.status_until(|status| status.finished == 2).await;
    assert_eq!((status.accepted, status.active, status.refused), (2, 0, 0));
    assert_eq!((status.bytes_to_target, status.bytes_to_client), (8, 8));
    assert!(status.failed.is_empty(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_inheritance_it_opens_its_own_or_says_why_not() {
    let scene = Scene::new(&echo().await);
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rustbalance-proxy"));
        command.arg("--config").arg(scene.path().join("config.toml"));
        command
    };
    let output = run().output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(71), "{error}");
    assert!(error.contains("cannot listen on 203.0.113.1:80"), "{error}");

    let config = scene.path().join("config.toml");
    let onion = scene.path().join("own.sock");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("203.0.113.1:80", &format!("unix:{}", onion.display()));
    std::fs::write(&config, text.replace("directory = \"", "directory = \"/nonexistent")).unwrap();
    let output = run().output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(71), "{error}");
    assert!(error.contains("proxy.sock"), "{error}");

    let control = scene.path().join("own");
    std::fs::create_dir(&control).unwrap();
    std::fs::write(
        &config,
        text.replace(
            &format!("directory = \"{}\"", scene.path().display()),
            &format!("directory = \"{}\"", control.display()),
        ),
    )
    .unwrap();
    let mut child = run().stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut stream = loop {
        match UnixStream::connect(&onion).await {
            Ok(stream) => break stream,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    ping(&mut stream).await;
    assert!(ProxyClient::connect(&control.join("proxy.sock")).await.unwrap().status().await.is_ok());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_meant_for_another_process_are_refused_loudly() {
    let scene = Scene::new(&echo().await);
    for (variable, value, complaint) in [
        ("LISTEN_FDNAMES", "control:other", "an inherited socket is named \"other\""),
        ("LISTEN_FDNAMES", "control", "one name for each"),
        ("LISTEN_FDS", "3", "one name for each"),
    ] {
        let output =
            scene.command().env(variable, value).stderr(std::process::Stdio::piped()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(71), "{error}");
        assert!(error.contains(complaint), "{error}");
    }
    let mut forked = std::process::Command::new(env!("CARGO_BIN_EXE_rustbalance-proxy"));
    let output =
        forked.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "onion").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(71), "{error}");
    assert!(error.contains("LISTEN_PID is 1 but this process is"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_exit_78_and_a_good_one_can_be_checked() {
    let scene = Scene::new(&echo().await);
    let config = scene.path().join("config.toml");
    let check = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rustbalance-proxy"));
        command.arg("--check-config").arg("--config").arg(&config).output().unwrap()
    };
    assert!(check().status.success());
    let good = std::fs::read_to_string(&config).unwrap();
    for (bad, complaint) in [
        (good.replace("level = \"trace\"", "level = \"shout\""), ":4: log.level: \"shout\" is no log level"),
        ("[log]\n".to_owned(), "section [proxy] is missing; rustbalance-proxy needs it"),
        (format!("[proxy]\ntarget = \"http://{ADDRESS}\"\n"), "section [tor] is missing"),
    ] {
        std::fs::write(&config, bad).unwrap();
        let output = check();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert!(error.contains(complaint), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_close_works_both_ways_over_tcp_and_unix() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("target.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let scene = Scene::new(&format!("target = \"unix:{}\"", path.display())).with_unix();
    let _daemon = scene.start();
    // The probe comes first, and goes again.
    assert!(ends(&mut timeout(LONG, listener.accept()).await.unwrap().unwrap().0, LONG).await);
    for over_unix in [false, true] {
        let mut client: Box<dyn Duplex> = if over_unix {
            Box::new(UnixStream::connect(scene.unix_path()).await.unwrap())
        } else {
            Box::new(TcpStream::connect(scene.address()).await.unwrap())
        };
        // The question ends, the answer comes later.
        let question = vec![7; 300_000];
        client.write_all(&question).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut target, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
        let mut heard = Vec::new();
        timeout(LONG, target.read_to_end(&mut heard)).await.unwrap().unwrap();
        assert!(heard == question);
        sleep(Duration::from_millis(300)).await;
        target.write_all(&question).await.unwrap();
        drop(target);
        let mut answer = Vec::new();
        timeout(LONG, client.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(answer == question);
    }
    // The answer ends first, the question goes on.
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    let (mut target, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    target.write_all(b"enough").await.unwrap();
    target.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(LONG, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "enough");
    client.write_all(&vec![8; 300_000]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    timeout(LONG, target.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard.len(), 300_000);
    drop((client, target));
    scene.status_until(|status| status.finished == 3 && status.failed.is_empty()).await;
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let scene = Scene::new(&format!("{}\nidle_timeout_secs = 1", echo().await));
    let _daemon = scene.start();
    let mut idle = TcpStream::connect(scene.address()).await.unwrap();
    ping(&mut idle).await;
    let quiet = Instant::now();
    let mut busy = TcpStream::connect(scene.address()).await.unwrap();
    let talk = tokio::spawn(async move {
        for _ in 0..12 {
            sleep(Duration::from_millis(250)).await;
            ping(&mut busy).await;
        }
    });
    assert!(ends(&mut idle, LONG).await);
    assert!(quiet.elapsed() >= Duration::from_millis(900), "{:?}", quiet.elapsed());
    assert!(quiet.elapsed() < Duration::from_secs(5), "{:?}", quiet.elapsed());
    talk.await.unwrap();
    let status = scene.status_until(|status| status.finished == 1).await;
    assert_eq!(status.failed[&FailureReason::Idle], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_bound_are_refused_at_once_and_places_come_free() {
    const BOUND: u64 = 40;
    let scene = Scene::new(&format!("{}\nmax_connections = {BOUND}", echo().await));
    let _daemon = scene.start();
    let mut carried = Vec::new();
    for _ in 0..BOUND {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        ping(&mut stream).await;
        carried.push(stream);
    }
    let started = Instant::now();
    let mut over = Vec::new();
    for _ in 0..1000 {
        match TcpStream::connect(scene.address()).await {
            Ok(stream) => over.push(stream),
            // The refusal can be quicker than the connect call.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    for stream in &mut over {
        assert!(ends(stream, LONG).await);
    }
    println!("1000 connections over the bound refused in {:?}", started.elapsed());
    let status = scene.status().await;
    assert_eq!((status.refused, status.active), (1000, BOUND));
    for stream in &mut carried {
        ping(stream).await;
    }
    carried.truncate(10);
    scene.status_until(|status| status.active == 10).await;
    for _ in 0..30 {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        ping(&mut stream).await;
        carried.push(stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_target_is_a_reset_with_a_reason_and_no_client_data_in_the_log() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"tcp://{closed}\""));
    let daemon = scene.start();
    for _ in 0..20 {
        let refusal = refusal(&scene, b"GET /secret-path HTTP/1.1\r\n\r\n").await;
        assert_eq!(refusal, std::io::ErrorKind::ConnectionReset);
    }
    let status = scene.status_until(|status| status.active == 0).await;
    assert_eq!(status.failed[&FailureReason::TargetUnreachable], 20);
    assert!(scene.notified("the target cannot be reached", LONG));
    // The target comes back: said once, as the trouble was.
    let listener = TcpListener::bind(closed).await.unwrap();
    drop(timeout(LONG, listener.accept()).await.unwrap());
    scene.status_until(|status| status.target_well).await;
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    let port = client.local_addr().unwrap().port();
    client.shutdown().await.unwrap();
    drop(timeout(LONG, listener.accept()).await.unwrap());
    assert!(ends(&mut client, LONG).await);
    scene.status_until(|status| status.active == 0).await;
    drop(daemon);
    let log = scene.log();
    assert_eq!(log.matches("cannot reach the target").count(), 1, "{log}");
    assert_eq!(log.matches("can be reached again").count(), 1, "{log}");
    assert!(!log.contains("secret-path"), "{log}");
    assert!(!log.contains(&format!(":{port}")), "{port}: {log}");
}

/// What a scripted tor does with a SOCKS connection.
#[derive(Clone, Copy)]
enum Tor {
    /// Connects, and then answers every byte with itself.
    Works,
    /// Connects to this address, whatever it is asked for.
    LeadsTo(std::net::SocketAddr),
    /// Answers the greeting, and never the request.
    Stalls,
    /// Accepts and says nothing at all: a frozen process.
    Frozen,
    /// Replies with this code.
    Fails(u8),
}

/// A scripted SOCKS server; tells the (user, password, host, port) of each request.
fn tor(path: &std::path::Path, behaviour: Tor) -> mpsc::UnboundedReceiver<(String, String, String, u16)> {
    let (requests, seen) = mpsc::unbounded_channel();
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(socks(stream, behaviour, requests.clone()));
        }
    });
    seen
}

async fn socks(
    mut stream: UnixStream,
    behaviour: Tor,
    requests: mpsc::UnboundedSender<(String, String, String, u16)>,
) -> Option<()> {
    if matches!(behaviour, Tor::Frozen) {
        sleep(LONG).await;
    }
    let text = async |stream: &mut UnixStream| {
        let mut bytes = vec![0; stream.read_u8().await.ok()?.into()];
        stream.read_exact(&mut bytes).await.ok()?;
        String::from_utf8(bytes).ok()
    };
    assert_eq!(stream.read_u8().await.ok()?, 5);
    let methods = text(&mut stream).await?;
    assert!(methods.contains('\u{2}'), "no password offered");
    stream.write_all(&[5, 2]).await.ok()?;
    assert_eq!(stream.read_u8().await.ok()?, 1);
    let (user, password) = (text(&mut stream).await?, text(&mut stream).await?);
    stream.write_all(&[1, 0]).await.ok()?;
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.ok()?;
    assert_eq!(request, [5, 1, 0, 3], "not a CONNECT by name");
    let host = text(&mut stream).await?;
    let port = stream.read_u16().await.ok()?;
    requests.send((user, password, host, port)).ok()?;
    match behaviour {
        Tor::Stalls | Tor::Frozen => sleep(LONG).await,
        Tor::Fails(code) => stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?,
        Tor::LeadsTo(address) => {
            let mut target = TcpStream::connect(address).await.ok()?;
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
            tokio::io::copy_bidirectional(&mut stream, &mut target).await.ok()?;
        }
        Tor::Works => {
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok()?;
            write.shutdown().await.ok()?;
        }
    }
    Some(())
}

/// A proxy for an onion target, with tors at `a` and `b` in `directory`; `a` serves, so `b` is asked first.
fn onion_scene(directory: &std::path::Path, more: &str) -> Scene {
    Scene::new(&format!("target = \"http://{ADDRESS}:8080\"\n{more}\n{}", tors(directory)))
}

/// The sections of two tors at `a` and `b` in `directory`.
fn tors(directory: &std::path::Path) -> String {
    let tor = |name: &str| {
        let path = directory.join(name);
        format!("[tor.{name}]\ncontrol = \"unix:{0}.control\"\nsocks = \"unix:{0}\"\n", path.display())
    };
    tor("a") + &tor("b")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_onion_target_is_reached_through_the_standby_tor_each_connection_isolated() {
    let directory = tempfile::tempdir().unwrap();
    let mut asked_a = tor(&directory.path().join("a"), Tor::Works);
    let mut asked_b = tor(&directory.path().join("b"), Tor::Works);
    let scene = onion_scene(directory.path(), "");
    let _daemon = scene.start();
    let mut isolations = std::collections::BTreeSet::new();
    for _ in 0..10 {
        ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
        let (user, password, host, port) = asked_b.recv().await.unwrap();
        assert_eq!((host.as_str(), port), (ADDRESS, 8080));
        isolations.insert((user, password));
    }
    assert_eq!(isolations.len(), 10, "{isolations:?}");
    assert!(asked_a.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_tor_takes_over_when_one_is_dead_frozen_or_without_network() {
    // Without network a real tor (0.4.9.11) takes the request and keeps it waiting.
    for behaviour in [None, Some(Tor::Frozen), Some(Tor::Fails(1)), Some(Tor::Stalls)] {
        let directory = tempfile::tempdir().unwrap();
        let mut asked_a = tor(&directory.path().join("a"), Tor::Works);
        let _other = behaviour.map(|behaviour| tor(&directory.path().join("b"), behaviour));
        let scene = onion_scene(directory.path(), "connect_timeout_secs = 9");
        let _daemon = scene.start();
        let started = Instant::now();
        ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
        assert!(asked_a.try_recv().is_ok());
        scene.status_until(|status| status.finished == 1 && status.failed.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_the_target_cannot_be_reached_is_counted_by_reason() {
    use FailureReason as Reason;
    let cases = [
        (Some(Tor::Fails(0xF0)), Reason::DescriptorNotFound),
        (Some(Tor::Fails(0xF2)), Reason::IntroductionFailed),
        (Some(Tor::Fails(0x04)), Reason::TargetUnreachable),
        (Some(Tor::Stalls), Reason::ConnectTimedOut),
        (None, Reason::NoTor),
    ];
    for (behaviour, reason) in cases {
        let directory = tempfile::tempdir().unwrap();
        let _tors =
            behaviour.map(|behaviour| ["a", "b"].map(|name| tor(&directory.path().join(name), behaviour)));
        let scene = onion_scene(directory.path(), "connect_timeout_secs = 0.7");
        let _daemon = scene.start();
        let started = Instant::now();
        assert_eq!(refusal(&scene, b"hello").await, std::io::ErrorKind::ConnectionReset);
        if reason == Reason::ConnectTimedOut {
            assert!(started.elapsed() >= Duration::from_millis(650), "{:?}", started.elapsed());
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let status = scene.status_until(|status| status.active == 0).await;
        assert_eq!(status.failed.get(&reason), Some(&1), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_is_refused_while_the_daemon_restarts() {
    let scene = Scene::new(&format!("{}\ndrain_timeout_secs = 5", echo().await));
    let mut daemon = scene.start();
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let address = scene.address();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (done, served) = (Arc::clone(&done), Arc::clone(&served));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    // Nobody may meet a refusal, a reset or an empty answer.
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    ping(&mut stream).await;
                    stream.shutdown().await.unwrap();
                    assert!(ends(&mut stream, LONG).await);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        sleep(Duration::from_millis(200)).await;
        let before = served.load(Ordering::Relaxed);
        daemon.signal(Signal::SIGTERM);
        let status = tokio::task::block_in_place(|| daemon.wait(LONG)).unwrap();
        assert!(status.success(), "{status}");
        // Nobody serves now; who connects waits in the listener that the supervisor kept open.
        sleep(Duration::from_millis(200)).await;
        daemon = tokio::task::block_in_place(|| scene.start());
        while served.load(Ordering::Relaxed) < before + 20 {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client failed");
            sleep(Duration::from_millis(10)).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    println!("{} connections across 5 restarts, none refused", served.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_finishes_what_is_under_way() {
    let scene = Scene::new(&format!("{}\ndrain_timeout_secs = 10", echo().await));
    let mut daemon = scene.start();
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    ping(&mut stream).await;
    daemon.signal(Signal::SIGTERM);
    assert!(tokio::task::block_in_place(|| scene.notified("STOPPING=1", LONG)));
    // Still served, and still answering about itself; a newcomer waits for the next process.
    ping(&mut stream).await;
    let status = scene.status().await;
    assert!(status.draining && status.active == 1, "{status:?}");
    let mut newcomer = TcpStream::connect(scene.address()).await.unwrap();
    newcomer.write_all(b"ping").await.unwrap();
    assert!(timeout(Duration::from_millis(500), newcomer.read(&mut [0; 4])).await.is_err());
    stream.shutdown().await.unwrap();
    assert!(ends(&mut stream, LONG).await);
    let status = tokio::task::block_in_place(|| daemon.wait(Duration::from_secs(5))).unwrap();
    assert_eq!(status.code(), Some(0));
    let _next = tokio::task::block_in_place(|| scene.start());
    let mut echoed = [0; 4];
    timeout(LONG, newcomer.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(&echoed, b"ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_in_time_is_cut_and_the_exit_is_still_clean() {
    for second_signal in [false, true] {
        let drain = if second_signal { 60 } else { 1 };
        let scene = Scene::new(&format!("{}\ndrain_timeout_secs = {drain}", echo().await));
        let mut daemon = scene.start();
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        ping(&mut stream).await;
        let started = Instant::now();
        daemon.signal(Signal::SIGTERM);
        if second_signal {
            assert!(tokio::task::block_in_place(|| scene.notified("STOPPING=1", LONG)));
            daemon.signal(Signal::SIGTERM);
        }
        let status = tokio::task::block_in_place(|| daemon.wait(LONG)).unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        // The client must not take this for an orderly end.
        let read = timeout(LONG, stream.read(&mut [0; 4])).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_sees_changes_and_what_is_carried_can_be_cut_while_it_goes_on() {
    let scene = Scene::new(&echo().await);
    let _daemon = scene.start();
    let control = scene.path().join("proxy.sock");
    let mut watch = ProxyClient::connect(&control).await.unwrap().watch().await.unwrap();
    assert_eq!(watch.next().await.unwrap().active, 0);
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    ping(&mut client).await;
    while timeout(LONG, watch.next()).await.unwrap().unwrap().active != 1 {}
    ProxyClient::connect(&control).await.unwrap().finish().await.unwrap();
    assert!(ends(&mut client, LONG).await);
    let mut last = timeout(LONG, watch.next()).await.unwrap().unwrap();
    while last.active != 0 {
        last = timeout(LONG, watch.next()).await.unwrap().unwrap();
    }
    assert_eq!((last.failed[&FailureReason::CutByStop], last.target_well), (1, true));
    ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keepalive_comes_from_the_main_loop_while_it_runs_and_while_it_drains() {
    let mut scene = Scene::new(&format!("{}\ndrain_timeout_secs = 30", echo().await));
    scene.watchdog_ms = Some(600);
    let daemon = scene.start();
    let pings = |count| {
        for _ in 0..count {
            assert!(scene.notified("WATCHDOG=1", Duration::from_millis(600)));
        }
    };
    tokio::task::block_in_place(|| pings(5));
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    ping(&mut stream).await;
    daemon.signal(Signal::SIGTERM);
    tokio::task::block_in_place(|| pings(5));
    daemon.signal(Signal::SIGSTOP);
    while scene.notified("WATCHDOG=1", Duration::from_millis(10)) {}
    assert!(!tokio::task::block_in_place(|| scene.notified("WATCHDOG=1", Duration::from_secs(2))));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_no_capability_no_core_and_no_way_to_new_privileges() {
    let scene = Scene::new(&echo().await);
    let daemon = scene.start();
    let proc = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", daemon.child.id())).unwrap();
    // Every thread, not only the first: capabilities belong to threads.
    let tasks: Vec<_> = std::fs::read_dir(format!("/proc/{}/task", daemon.child.id())).unwrap().collect();
    assert!(tasks.len() > 1);
    for task in tasks {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}\n{status}");
        }
        if nix::unistd::geteuid().is_root() {
            assert_eq!(field("CapBnd:"), "0000000000000000", "{status}");
        }
        assert_eq!(field("NoNewPrivs:"), "1");
    }
    let limits = proc("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert_eq!(core.split_whitespace().nth(5), Some("0"), "{core}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_that_does_not_listen_does_not_hold_it_up() {
    let scene = Scene::new(&echo().await);
    let mut daemon = scene.start();
    // A reload is told twice; the kernel's queue holds about ten messages, of which none is read any more.
    for _ in 0..20 {
        daemon.signal(Signal::SIGHUP);
        sleep(Duration::from_millis(50)).await;
    }
    let full = std::os::unix::net::UnixDatagram::unbound().unwrap();
    full.connect(scene.path().join("notify")).unwrap();
    full.set_nonblocking(true).unwrap();
    let begin = Instant::now();
    while full.send(b"STATUS=full").is_ok() {
        assert!(begin.elapsed() < LONG);
    }
    // Two states, each of which may take a second, for every signal that was not merged with another.
    for _ in 0..5 {
        ping(&mut timeout(LONG, TcpStream::connect(scene.address())).await.unwrap().unwrap()).await;
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(LONG).unwrap().code(), Some(0), "{}", scene.log());
    assert!(scene.log().contains("cannot be told about this daemon's state"), "{}", scene.log());
}
