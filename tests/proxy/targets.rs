//! Several targets: shares, falling over, ejection, coming back, and what a reload keeps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustbalance::ipc::proxy::{FailureReason, ProxyStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::peer::{Client, Reply, Target};
use crate::supervisor::{Scene, UNROUTABLE};
use crate::{LONG, ends, ping, refusal};

/// A target that says its name to whoever comes, and then sends back what it gets.
struct Named {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Named {
    async fn new(name: u8) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), name).await
    }

    async fn at(address: SocketAddr, name: u8) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    stream.write_u8(name).await?;
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        Self { address, serving }
    }

    /// Nobody listens at its address any more; what is connected stays.
    async fn leave(self) -> SocketAddr {
        self.serving.abort();
        let _ = self.serving.await;
        self.address
    }
}

/// The configuration of targets with these weights.
fn section(targets: &[(SocketAddr, u32)]) -> String {
    let table =
        |(address, weight)| format!("[[proxy.targets]]\naddress = \"tcp://{address}\"\nweight = {weight}\n");
    targets.iter().copied().map(table).collect()
}

/// A connection through the proxy, and the name of the target it leads to.
async fn connect(scene: &Scene) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    let name = timeout(LONG, stream.read_u8()).await.unwrap().unwrap();
    (stream, name)
}

/// So many connections, kept open, and how many each target has.
async fn connections(scene: &Scene, number: usize) -> (Vec<TcpStream>, BTreeMap<u8, usize>) {
    let (mut streams, mut names) = (Vec::new(), BTreeMap::new());
    for _ in 0..number {
        let (stream, name) = connect(scene).await;
        streams.push(stream);
        *names.entry(name).or_default() += 1;
    }
    (streams, names)
}

fn well(status: &ProxyStatus) -> Vec<bool> {
    status.targets.iter().map(|target| target.well).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_shared_out_by_weight_and_counted() {
    let (one, two) = (Named::new(b'1').await, Named::new(b'2').await);
    let scene = Scene::new(&section(&[(one.address, 1), (two.address, 3)]));
    let _daemon = scene.start();
    let (streams, names) = connections(&scene, 40).await;
    assert_eq!(names, BTreeMap::from([(b'1', 10), (b'2', 30)]));
    let status = scene.status().await;
    let shares: Vec<_> = status.targets.iter().map(|target| (target.weight, target.connections)).collect();
    assert_eq!(shares, [(1, 10), (3, 30)]);
    assert_eq!(status.target, format!("{}, {}", one.address, two.address));
    drop(streams);
    scene.status_until(|status| status.targets.iter().all(|target| target.connections == 0)).await;
    // One after the other, they take turns.
    let mut names = BTreeMap::new();
    for _ in 0..40 {
        let (stream, name) = connect(&scene).await;
        *names.entry(name).or_default() += 1;
        drop(stream);
        scene.status_until(|status| status.active == 0).await;
    }
    assert_eq!(names, BTreeMap::from([(b'1', 10), (b'2', 30)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_goes_away_costs_no_connection_and_comes_back_slowly() {
    let (one, two) = (Named::new(b'1').await, Named::new(b'2').await);
    let scene = Scene::new(&section(&[(one.address, 1), (two.address, 1)]));
    let _daemon = scene.start();
    let (mut streams, _) = connections(&scene, 10).await;
    let gone = one.leave().await;
    // Every one of them is carried: to the other target, where this one fails.
    let (_more, names) = connections(&scene, 10).await;
    assert_eq!(names, BTreeMap::from([(b'2', 10)]));
    let status = scene.status_until(|status| well(status) == [false, true]).await;
    assert!(status.target_well, "one is enough");
    assert_eq!(status.targets[0].trouble, Some(FailureReason::TargetUnreachable));
    assert!(status.failed.is_empty(), "{status:?}");
    for stream in &mut streams {
        ping(stream).await;
    }
    let _again = Named::at(gone, b'1').await;
    let back = Instant::now();
    scene.status_until(|status| well(status) == [true, true]).await;
    assert!(back.elapsed() < Duration::from_secs(8), "{:?}", back.elapsed());
    // Five are still with the first one and fifteen with the second: a tenth of a share is one and a half.
    let (_few, names) = connections(&scene, 10).await;
    assert_eq!(names, BTreeMap::from([(b'2', 10)]));
    let log = scene.log();
    for said in ["gets no connections for now: the target refuses", "gets connections again, few at first"] {
        assert_eq!(log.matches(said).count(), 1, "{log}");
    }
    assert!(!log.contains("the target is not well"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_are_away_clients_are_refused_at_once_and_only_trials_reach_a_target() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(&section(&[(closed, 1), (other, 1)]));
    let _daemon = scene.start();
    for _ in 0..6 {
        assert_eq!(refusal(&scene, b"hello").await, std::io::ErrorKind::ConnectionReset);
    }
    scene.status_until(|status| well(status) == [false, false] && !status.target_well).await;
    // Trials become rarer. The first one listens again, but nobody asks it until its trial is due.
    sleep(Duration::from_millis(2200)).await;
    let listener = TcpListener::bind(closed).await.unwrap();
    let begin = Instant::now();
    let trial = tokio::spawn(async move { listener.accept().await.map(drop) });
    let mut refused = 0;
    while !trial.is_finished() {
        // The reset can be quicker than the connect call.
        if let Ok(mut client) = TcpStream::connect(scene.address()).await {
            assert!(ends(&mut client, LONG).await);
        }
        refused += 1;
    }
    assert!(refused > 3, "{refused}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    scene.status_until(|status| well(status) == [true, false] && status.target_well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_hangs_is_given_half_the_time() {
    // A full queue: connecting to it hangs.
    let hanging = tokio::net::TcpSocket::new_v4().unwrap();
    hanging.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let hanging = hanging.listen(1).unwrap();
    let address = hanging.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
    }
    let two = Named::new(b'2').await;
    let targets = section(&[(address, 1), (two.address, 1)]);
    let scene = Scene::new(&format!("connect_timeout_secs = 2\n{targets}"));
    let _daemon = scene.start();
    let begin = Instant::now();
    let (_streams, names) = connections(&scene, 2).await;
    assert_eq!(names, BTreeMap::from([(b'2', 2)]));
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_is_known_of_the_targets_that_stay() {
    let (one, two, three) = (Named::new(b'1').await, Named::new(b'2').await, Named::new(b'3').await);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(&section(&[(one.address, 1), (two.address, 1), (closed, 1)]));
    let daemon = scene.start();
    let (streams, _) = connections(&scene, 10).await;
    scene.status_until(|status| well(status) == [true, true, false]).await;

    scene.configure("trace", UNROUTABLE, &section(&[(closed, 2), (two.address, 1), (three.address, 1)]));
    scene.reload(&daemon);
    let status = scene.status().await;
    assert_eq!(well(&status), [false, true, true]);
    assert_eq!(status.targets[1].connections, 5);
    // The new one has to catch up with the one that has five.
    let (_more, names) = connections(&scene, 5).await;
    assert_eq!(names, BTreeMap::from([(b'3', 5)]));
    let log = scene.log();
    assert!(log.contains("taken over: proxy.targets"), "{log}");
    for mut stream in streams {
        ping(&mut stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_http_mode_a_request_goes_on_to_the_next_target_under_that_ones_name() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut target = Target::new(|asked| {
        let own = asked.header("host").unwrap().to_owned();
        Reply::Send(
            format!("HTTP/1.1 302 Found\r\nLocation: http://{own}/there\r\nContent-Length: 0\r\n\r\n").into(),
        )
    })
    .await;
    let scene = Scene::new(&format!(
        "mode = \"http\"\nhost = \"shop.example\"\n\
         [[proxy.targets]]\naddress = \"http://{closed}\"\n\
         [[proxy.targets]]\naddress = \"http://{}\"\nhost = \"www.shop.example\"\n",
        target.address
    ));
    let _daemon = scene.start();
    for _ in 0..5 {
        // Even a request that must not be sent twice: nothing of it was sent.
        let mut client = Client::new(scene.address()).await;
        let answer = client.ask("POST / HTTP/1.1\r\nHost: x.onion\r\nContent-Length: 4\r\n\r\nbody").await;
        assert_eq!((answer.status(), answer.header("location")), (302, Some("http://x.onion/there")));
        let asked = target.asked().await;
        assert_eq!((asked.header("host"), &asked.body[..]), (Some("www.shop.example"), &b"body"[..]));
    }
    scene.status_until(|status| well(status) == [false, true]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_a_connection_that_went_stale_goes_to_another_target_under_its_name() {
    let named = |name: &'static str| {
        Target::new(move |asked| {
            assert_eq!(asked.header("host"), Some(name));
            Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())
        })
    };
    let (mut one, mut two) = (named("one.example").await, named("two.example").await);
    let table = |target: &Target, host| {
        format!("[[proxy.targets]]\naddress = \"http://{}\"\nhost = \"{host}\"\n", target.address)
    };
    let targets = [table(&one, "one.example"), table(&two, "two.example")].concat();
    let scene = Scene::new(&format!("mode = \"http\"\n{targets}"));
    let _daemon = scene.start();
    let mut client = Client::new(scene.address()).await;
    for _ in 0..4 {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: x.onion\r\n\r\n").await;
        assert_eq!(answer.status(), 200);
        sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..2 {
        one.asked().await;
        two.asked().await;
    }
    let status = scene.status().await;
    assert_eq!(well(&status), [true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_page_is_shown_and_read_again() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new("target = \"unix:/nowhere\"");
    let page = scene.path().join("page.html");
    std::fs::write(&page, "<h1>Ünser {{status}}</h1>{{reason}}").unwrap();
    let section = |more: &str| {
        format!("target = \"http://{closed}\"\nmode = \"http\"\nerror_page = \"{}\"\n{more}", page.display())
    };
    scene.configure("trace", UNROUTABLE, &section("eject_failures = 1"));
    let daemon = scene.start();
    scene.status_until(|status| !status.target_well).await;
    let request = "GET / HTTP/1.1\r\nHost: x.onion\r\n\r\n";
    let answer = Client::new(scene.address()).await.ask(request).await;
    let body = String::from_utf8(answer.body.clone()).unwrap();
    assert!(body.starts_with("<h1>Ünser 503</h1>The service behind"), "{body}");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("10")));
    assert!(answer.header("content-security-policy").unwrap().contains("img-src data:"));
    // What is the client's own mistake is told by the page that is built in.
    let mistake = Client::new(scene.address()).await.ask("TRACE / HTTP/1.1\r\nHost: x.onion\r\n\r\n").await;
    assert_eq!(mistake.status(), 405);
    assert!(!String::from_utf8(mistake.body).unwrap().contains("Ünser"));

    std::fs::write(&page, "changed").unwrap();
    scene.reload(&daemon);
    let answer = Client::new(scene.address()).await.ask(request).await;
    assert_eq!(answer.body, b"changed");
    scene.configure("trace", UNROUTABLE, &section("max_connections = 1"));
    scene.reload(&daemon);
    // All places are taken: the same page.
    scene.status_until(|status| status.active == 0).await;
    let _holds = TcpStream::connect(scene.address()).await.unwrap();
    scene.status_until(|status| status.active == 1).await;
    let full = Client::new(scene.address()).await.receive().await;
    assert_eq!((full.status(), &full.body[..]), (503, &b"changed"[..]));

    for (bad, complaint) in [(vec![0xff], "valid UTF-8"), (vec![b'x'; 64 * 1024 + 1], "larger than 65536")] {
        std::fs::write(&page, bad).unwrap();
        scene.configure("trace", UNROUTABLE, &section("max_connections = 2"));
        scene.reload(&daemon);
        let log = scene.log();
        assert!(log.contains("proxy.error_page: ") && log.contains(complaint), "{log}");
    }
}
