//! Targets, and nodes, that are ill in one way or another: what clients notice of it, and whom it is held against.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{Backlog, listen};
use rustbalance::ipc::proxy::{FailureReason, ProxyStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::sleep;

use crate::peer::{Client, Reply, Target};
use crate::supervisor::{Scene, UNROUTABLE};
use crate::{LONG, Tor, echo, onion_scene, ping, refusal, tor};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: x.onion\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: x.onion\r\nContent-Length: 4\r\n\r\nbody";

fn well(status: &ProxyStatus) -> Vec<bool> {
    status.targets.iter().map(|target| target.well).collect()
}

fn closed() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A target that accepts and hangs up at once, and how often it has.
async fn hangs_up() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, times) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&times);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, times)
}

fn targets(addresses: &[SocketAddr]) -> String {
    let tables =
        addresses.iter().map(|address| format!("[[proxy.targets]]\naddress = \"http://{address}\"\n"));
    tables.collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_in_line_for_a_unix_target_whose_queue_is_short() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("target.sock");
    let listener = StdUnixListener::bind(&path).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let scene = Scene::new(&format!("target = \"unix:{}\"", path.display()));
    let _daemon = scene.start();
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let address = scene.address();
            tokio::spawn(async move { ping(&mut TcpStream::connect(address).await.unwrap()).await })
        })
        .collect();
    // Everybody is there, and nobody was let in yet.
    scene.status_until(|status| status.active == 60).await;
    let listener = UnixListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            sleep(Duration::from_millis(5)).await;
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    for client in clients {
        client.await.unwrap();
    }
    let status = scene.status_until(|status| status.active == 0).await;
    assert!(status.failed.is_empty() && well(&status) == [true], "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_hangs_up_at_once_costs_harmless_requests_nothing_and_goes() {
    let (bad, times) = hangs_up().await;
    let good = Target::always(OK).await;
    let scene = Scene::new(&format!("mode = \"http\"\n{}", targets(&[bad, good.address])));
    let _daemon = scene.start();
    let begin = Instant::now();
    while well(&scene.status().await) != [false, true] {
        assert_eq!(Client::new(scene.address()).await.ask(GET).await.status(), 200);
        assert!(begin.elapsed() < LONG, "{}", scene.log());
        sleep(Duration::from_millis(50)).await;
    }
    assert!(begin.elapsed() > Duration::from_millis(900), "{:?}", begin.elapsed());
    assert!(times.load(Ordering::SeqCst) > 2);
    let status = scene.status().await;
    assert!(status.failed.is_empty() && status.target_well, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_sent_once_only_meets_a_target_that_hangs_up_rarely() {
    let (bad, _) = hangs_up().await;
    // As busy as any: the other one, having nothing to do, would be next for everybody.
    let good = Target::new(|asked| match asked.first_line() {
        "GET /wait HTTP/1.1" => Reply::Silence,
        _ => Reply::Send(OK.into()),
    })
    .await;
    let scene = Scene::new(&format!("mode = \"http\"\n{}", targets(&[good.address, bad])));
    let _daemon = scene.start();
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut client = Client::new(scene.address()).await;
        client.send("GET /wait HTTP/1.1\r\nHost: x.onion\r\n\r\n").await;
        busy.push(client);
    }
    scene.status_until(|status| status.targets[0].connections == 3).await;
    // Some of the three may have met the bad one first, which keeps their seats for a second.
    sleep(Duration::from_millis(1_200)).await;
    let mut failed = 0;
    for _ in 0..60 {
        failed += usize::from(Client::new(scene.address()).await.ask(POST).await.status() == 502);
    }
    // As many as the other one has, for each second that it lasts, and those that were on their way.
    assert!(failed <= 15, "{failed} of 60");
    // Where the three took their time, what they met has put it out before.
    let status = scene.status().await;
    assert!(failed > 0 || well(&status) == [true, false], "never asked, and not out: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_targets_hang_up_is_not_taken_to_all_of_them() {
    let poisoned = || Target::new(|_| Reply::Last(Vec::new()));
    let mut all = [poisoned().await, poisoned().await, poisoned().await, poisoned().await, poisoned().await];
    let addresses: Vec<_> = all.iter().map(|target| target.address).collect();
    let scene = Scene::new(&format!("mode = \"http\"\n{}", targets(&addresses)));
    let _daemon = scene.start();
    assert_eq!(Client::new(scene.address()).await.ask(GET).await.status(), 502);
    let asked: usize = all.iter_mut().map(|target| target.all_asked().len()).sum();
    assert_eq!(asked, 3);
    assert_eq!(Client::new(scene.address()).await.ask(POST).await.status(), 502);
    let asked: usize = all.iter_mut().map(|target| target.all_asked().len()).sum();
    assert_eq!(asked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn also_where_bytes_are_carried_a_target_that_hangs_up_on_everybody_goes() {
    let (bad, _) = hangs_up().await;
    let good = echo().await.replace("target = \"", "[[proxy.targets]]\naddress = \"");
    let scene = Scene::new(&format!("[[proxy.targets]]\naddress = \"tcp://{bad}\"\n{good}"));
    let _daemon = scene.start();
    let begin = Instant::now();
    while well(&scene.status().await) != [false, true] {
        if let Ok(mut client) = TcpStream::connect(scene.address()).await {
            let _ = client.write_all(b"ping").await;
            let _ = client.read(&mut [0; 4]).await;
        }
        assert!(begin.elapsed() < LONG, "{}", scene.log());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_started_again_is_not_left_alone_for_it() {
    let address = closed();
    let scene = Scene::new(&format!("target = \"tcp://{address}\""));
    let _daemon = scene.start();
    for _ in 0..30 {
        refusal(&scene, b"hello").await;
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    // The very next one is carried.
    ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
    let status = scene.status().await;
    assert_eq!(status.failed[&FailureReason::TargetUnreachable], 30);
    assert_eq!((well(&status), status.target_well), (vec![true], true));
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn that_this_node_has_no_tor_is_told_and_not_held_against_the_target() {
    let directory = tempfile::tempdir().unwrap();
    let scene = onion_scene(directory.path(), "");
    let _daemon = scene.start();
    for _ in 0..5 {
        refusal(&scene, b"hello").await;
        sleep(Duration::from_millis(300)).await;
    }
    // The other nodes shall serve, but who comes here is carried as soon as there is a tor.
    let status = scene.status_until(|status| !status.target_well).await;
    assert_eq!((well(&status), status.targets[0].trouble), (vec![true], Some(FailureReason::NoTor)));
    let _asked = tor(&directory.path().join("a"), Tor::Works);
    ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
    scene.status_until(|status| status.target_well).await;
    let log = scene.log();
    assert!(log.contains("not well: no tor accepts") && !log.contains("gets no connections"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_tor_is_asked_when_a_third_of_the_time_that_is_left_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let _stalling = tor(&directory.path().join("b"), Tor::Stalls);
    let _working = tor(&directory.path().join("a"), Tor::Works);
    let scene = Scene::new(&format!(
        "connect_timeout_secs = 12\n[[proxy.targets]]\naddress = \"http://{0}:1\"\n\
         [[proxy.targets]]\naddress = \"http://{0}:2\"\n{1}",
        crate::ADDRESS,
        crate::tors(directory.path())
    ));
    let _daemon = scene.start();
    let begin = Instant::now();
    ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
    // Of twelve seconds the first target gets six, and of those the first tor two.
    assert!(begin.elapsed() >= Duration::from_millis(1900), "{:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_millis(3700), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_suffice_for_every_place_when_both_tors_are_asked_for_all() {
    const PLACES: u64 = (400 - 256) / 3;
    let directory = tempfile::tempdir().unwrap();
    let _tors = ["a", "b"].map(|name| tor(&directory.path().join(name), Tor::Stalls));
    let mut scene = onion_scene(directory.path(), "connect_timeout_secs = 6");
    scene.files = Some(400);
    let _daemon = scene.start();
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.extend(TcpStream::connect(scene.address()).await);
    }
    let status = scene.status_until(|status| status.accepted == 200).await;
    assert_eq!((status.active, status.refused), (PLACES, 200 - PLACES));
    let status = scene.status_until(|status| status.active == 0).await;
    assert_eq!(status.failed[&FailureReason::ConnectTimedOut], PLACES, "{status:?}");
    assert!(scene.log().contains("possible=48"), "{}", scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_fill_the_log_by_turns() {
    let scene = Scene::new(&format!("target = \"http://{}\"\nmode = \"http\"", closed()));
    let daemon = scene.start();
    for _ in 0..10 {
        assert_eq!(Client::new(scene.address()).await.ask(GET).await.status(), 503);
        let refused = Client::new(scene.address()).await.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(refused.status(), 405);
        drop(TcpStream::connect(scene.address()).await.unwrap());
        scene.status_until(|status| status.active == 0).await;
    }
    drop(daemon);
    let log = scene.log();
    assert_eq!(log.matches("cannot reach the target").count(), 1, "{log}");
    assert_eq!(log.matches("can be reached again").count(), 0, "{log}");
}

/// A target that answers `/well?` as its switch says, and everything else with 200.
async fn with_switch(host: &'static str) -> (Target, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&switch);
    let target = Target::new(move |asked| {
        assert_eq!(asked.header("host"), Some(host));
        let probe = asked.first_line() == "GET /well?now HTTP/1.1";
        let status = if probe && !state.load(Ordering::SeqCst) { "500 Ill" } else { "200 OK" };
        Reply::Send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into())
    })
    .await;
    (target, switch)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_answers_its_probes_wrongly_goes_and_comes_back_when_it_is_well() {
    let ((mut one, is_well), (two, _)) = (with_switch("one.example").await, with_switch("two.example").await);
    let table = |target: &Target, host| {
        format!("[[proxy.targets]]\naddress = \"http://{}\"\nhost = \"{host}\"\n", target.address)
    };
    let both = [table(&one, "one.example"), table(&two, "two.example")].concat();
    let probes =
        "mode = \"http\"\nprobe_path = \"/well?now\"\nprobe_interval_secs = 1\nreadmission_secs = 0\n";
    let scene = Scene::new(&format!("{probes}{both}"));
    let daemon = scene.start();
    assert_eq!(one.asked().await.first_line(), "GET /well?now HTTP/1.1");
    let mut stays = Client::new(scene.address()).await;
    assert_eq!(stays.ask(GET).await.status(), 200);
    is_well.store(false, Ordering::SeqCst);
    let begin = Instant::now();
    let status = scene.status_until(|status| well(status) == [false, true]).await;
    assert!(begin.elapsed() > Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(status.targets[0].trouble, Some(FailureReason::WrongAnswer));
    assert!(status.target_well && status.failed.is_empty(), "{status:?}");
    one.all_asked();
    // Nobody is sent there, not even who has a connection to it.
    for _ in 0..10 {
        assert_eq!(Client::new(scene.address()).await.ask(GET).await.status(), 200);
        assert_eq!(stays.ask(GET).await.status(), 200);
    }
    assert!(one.all_asked().iter().all(|asked| asked.first_line().contains("/well?now")));
    is_well.store(true, Ordering::SeqCst);
    scene.status_until(|status| well(status) == [true, true]).await;

    // Another answer is expected, which nobody gives: all are out, and the node says so.
    scene.configure("trace", UNROUTABLE, &format!("{probes}probe_status = 204\n{both}"));
    scene.reload(&daemon);
    let status = scene.status_until(|status| !status.target_well).await;
    assert_eq!(well(&status), [false, false]);
    assert_eq!(Client::new(scene.address()).await.ask(GET).await.status(), 503);
    let log = scene.log();
    assert!(log.contains("gets no connections for now: the target does not answer the probe"), "{log}");
    // Where probes do not ask, being reached is enough.
    scene.configure("trace", UNROUTABLE, &format!("mode = \"http\"\n{both}"));
    scene.reload(&daemon);
    scene.status_until(|status| well(status) == [true, true] && status.target_well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_http_mode_only_requests_under_way_make_a_target_busy() {
    let target = Target::new(|asked| match asked.first_line() {
        "GET /wait HTTP/1.1" => Reply::Silence,
        _ => Reply::Send(OK.into()),
    })
    .await;
    let scene = Scene::new(&target.section());
    let _daemon = scene.start();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::new(scene.address()).await;
        assert_eq!(client.ask(GET).await.status(), 200);
        clients.push(client);
    }
    let status = scene.status_until(|status| status.targets[0].connections == 0).await;
    assert_eq!(status.active, 5);
    // Both over the connection that is there, and over a new one.
    clients[0].send("GET /wait HTTP/1.1\r\nHost: x.onion\r\n\r\n").await;
    let mut new = Client::new(scene.address()).await;
    new.send("GET /wait HTTP/1.1\r\nHost: x.onion\r\n\r\n").await;
    scene.status_until(|status| status.targets[0].connections == 2).await;
    drop((clients, new));
    scene.status_until(|status| status.active == 0 && status.targets[0].connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target_tells_a_client_where_another_one_is() {
    let other = closed();
    let target = Target::new(move |_| {
        let away = format!("http://{other}/there");
        Reply::Send(
            format!(
                "HTTP/1.1 302 Found\r\nLocation: {away}\r\nLink: <http://two.example/>; rel=next\r\n\
                 X-Served-By: one.example\r\nContent-Length: 0\r\n\r\n"
            )
            .into(),
        )
    })
    .await;
    let scene = Scene::new(&format!(
        "mode = \"http\"\n[[proxy.targets]]\naddress = \"http://{}\"\nhost = \"one.example\"\nweight = 1000\n\
         [[proxy.targets]]\naddress = \"http://{other}\"\nhost = \"two.example\"\n",
        target.address
    ));
    let _daemon = scene.start();
    let answer = Client::new(scene.address()).await.ask(GET).await;
    assert_eq!((answer.status(), answer.header("location")), (302, Some("http://x.onion/there")));
    assert_eq!(answer.header("link"), Some("<http://x.onion/>; rel=next"));
    assert_eq!(answer.header("x-served-by"), Some("x.onion"));
}
