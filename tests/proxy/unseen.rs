//! Join requests at the proxy: answered if they are ours, and otherwise carried to the target, byte for byte.
//!
//! The coordinator here is a socket with the real gate behind it. The target answers with what it was sent, so an answer
//! that equals the target's own to the same bytes shows that every byte arrived, and nothing else.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::ipc::coordinator::{Checked, CoordinatorCall, JoinHttpAnswer, JoinReply};
use rustbalance::ipc::server::{self, Limits};
use rustbalance::proto::join::answer::{JoinAnswer, Welcome};
use rustbalance::proto::join::gate::{Gate, GateAction, GateEvent, Trusted};
use rustbalance::proto::join::http::{Reading, read_answer, write_request};
use rustbalance::proto::join::keys::JoinKeys;
use rustbalance::proto::join::member::Member;
use rustbalance::proto::join::request::{JoinRequest, MAX_BODY_BYTES};
use rustbalance::proto::join::secret::JoinSecret;
use rustbalance::proto::join::ticket::Ticket;
use rustbalance::proto::node::Priority;
use rustbalance::proto::onion::address::HsId;
use rustbalance::sys::clock::unix_ms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use crate::supervisor::{Daemon, Scene};
use crate::{ADDRESS, LONG};

fn keys(number: u8) -> JoinKeys {
    JoinKeys::new(Zeroizing::new([number; 32]), Zeroizing::new([number + 100; 32]))
}

fn secret(seed: u64) -> JoinSecret {
    JoinSecret::generate(&mut StdRng::seed_from_u64(seed))
}

fn member(number: u8) -> Member {
    Member {
        node: format!("n{number}").parse().unwrap(),
        wireguard_key: [number; 32],
        endpoint: None,
        tunnel_address: [10, 9, 9, number].into(),
    }
}

/// A request that is let in; a test changes what should keep it out.
fn request() -> JoinRequest {
    let now_ms = unix_ms();
    let ticket = Ticket::issue(&keys(1), [7; 16], now_ms + 600_000, 1);
    JoinRequest { member: member(7), priority: Priority(1), request_time: now_ms / 1000, ticket }
}

fn with_body(secret: &JoinSecret, body: &[u8]) -> Vec<u8> {
    write_request(&HsId::from_address(ADDRESS).unwrap(), secret, body).to_vec()
}

fn sent_by(secret: &JoinSecret, request: &JoinRequest, keys: &JoinKeys) -> Vec<u8> {
    with_body(secret, &request.prove(keys).unwrap().0)
}

fn welcome() -> Welcome {
    Welcome { member: member(1), known_peers: vec![member(2)], rotations: vec![vec![1, 2, 3]] }
}

/// What the coordinator does with calls.
#[derive(Clone, Copy, PartialEq)]
enum Coordinator {
    /// It has the secret and the gate, and lets in whoever may ask.
    Works,
    /// It takes calls and answers none.
    Stuck,
}

fn coordinator(scene: &Scene, behaviour: Coordinator) {
    let listener = UnixListener::bind(scene.path().join("coordinator.sock")).unwrap();
    let own = BTreeSet::from([nix::unistd::geteuid().as_raw()]);
    let (calls, mut inbox) = mpsc::channel(8);
    tokio::spawn(server::serve::<CoordinatorCall>(listener, own, calls, Limits::default()));
    tokio::spawn(async move {
        let mut gate = Gate::new(Box::new(|key| [10, 9, 9, key[0]].into()));
        let trusted = Trusted { keys: Arc::new(keys(1)), until_ms: None };
        gate.handle(Instant::now(), unix_ms(), GateEvent::Trust(vec![trusted]));
        let mut kept = Vec::new();
        while let Some(call) = inbox.recv().await {
            match call {
                call if behaviour == Coordinator::Stuck => kept.push(call),
                CoordinatorCall::CheckSecret { digest, reply } => {
                    reply.answer(&Checked { ours: digest == secret(1).digest() });
                }
                CoordinatorCall::Join { body, reply } => {
                    let event = GateEvent::Request { number: 1, body: body.as_bytes() };
                    let mut action = gate.handle(Instant::now(), unix_ms(), event).unwrap();
                    if let GateAction::Ask(number, _) = action {
                        let verdict = GateEvent::Verdict { number, verdict: Ok(welcome()) };
                        action = gate.handle(Instant::now(), unix_ms(), verdict).unwrap();
                    }
                    let answer = match action {
                        GateAction::Answer(_, http) => Some(JoinHttpAnswer {
                            status: http.status,
                            retry_after_secs: http.retry_after_secs,
                            body: String::from_utf8(http.body).unwrap(),
                        }),
                        _ => None,
                    };
                    reply.answer(&JoinReply { answer });
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

/// After how long without a byte the target answers.
const SILENCE: Duration = Duration::from_millis(700);

/// A target that takes all there is, until a moment of silence or the end, and answers with it; and how often somebody
/// came to it with at least a byte.
async fn target() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, visits) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let visits = Arc::clone(&counted);
            tokio::spawn(async move {
                // The first byte may take its time; a probe never sends one.
                let mut said = Vec::new();
                if !matches!(stream.read_buf(&mut said).await, Ok(1..)) {
                    return;
                }
                let mut ended = false;
                while let Ok(read) = timeout(SILENCE, stream.read_buf(&mut said)).await {
                    ended = !matches!(read, Ok(1..));
                    if ended {
                        break;
                    }
                }
                visits.fetch_add(1, Ordering::SeqCst);
                let head =
                    format!("HTTP/1.1 404 Not Found\r\nX-Ended: {ended}\r\nX-Length: {}\r\n\r\n", said.len());
                let _ = stream.write_all(&[head.as_bytes(), &said].concat()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, visits)
}

/// Says the parts, with a pause between them, and hears the answer to the end.
async fn say(address: SocketAddr, parts: &[&[u8]], pause: Duration, end: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            sleep(pause).await;
        }
        stream.write_all(part).await.unwrap();
    }
    if end {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

struct Stage {
    scene: Scene,
    _daemon: Daemon,
    target: SocketAddr,
    visits: Arc<AtomicU64>,
}

impl Stage {
    async fn set(behaviour: Option<Coordinator>) -> Self {
        let (target, visits) = target().await;
        let scene =
            Scene::new(&format!("target = \"tcp://{target}\"\n[join]\nsecret_file = \"/nonexistent\""));
        if let Some(behaviour) = behaviour {
            coordinator(&scene, behaviour);
        }
        let daemon = scene.start();
        Self { scene, _daemon: daemon, target, visits }
    }

    /// Says it to the proxy and to the target itself: both answers must be the same, to the last byte.
    async fn same(&self, what: &str, parts: &[&[u8]], pause: Duration, end: bool) -> Duration {
        let begin = Instant::now();
        let through = say(self.scene.address(), parts, pause, end).await;
        let took = begin.elapsed();
        let direct = say(self.target, parts, pause, end).await;
        assert!(!direct.is_empty());
        assert!(
            through == direct,
            "{what}:\n{}\n--\n{}",
            String::from_utf8_lossy(&through),
            String::from_utf8_lossy(&direct)
        );
        took
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_join_is_answered_and_the_target_never_hears_of_it() {
    let stage = Stage::set(Some(Coordinator::Works)).await;
    let request = request();
    let bytes = sent_by(&secret(1), &request, &keys(1));
    let (_, tag) = request.prove(&keys(1)).unwrap();
    let cuts: [&[&[u8]]; 4] = [
        &[&bytes],
        &[&bytes[..5], &bytes[5..60], &bytes[60..]],
        &[&bytes[..100], &bytes[100..bytes.len() - 1], &bytes[bytes.len() - 1..]],
        &[&bytes, b"GET / HTTP/1.1\r\n\r\n"],
    ];
    for parts in cuts {
        let answer = say(stage.scene.address(), parts, Duration::from_millis(50), false).await;
        let Reading::Done(http) = read_answer(&answer, true) else {
            panic!("{}", String::from_utf8_lossy(&answer))
        };
        let said = JoinAnswer::parse(http.status, &http.body, &keys(1), &tag).unwrap();
        assert_eq!(said, JoinAnswer::Welcome(welcome()));
    }
    let status = stage.scene.status_until(|status| status.active == 0).await;
    assert_eq!((status.joins, status.finished), (4, 0));
    assert_eq!((status.bytes_to_target, stage.visits.load(Ordering::SeqCst)), (0, 0));
    let log = stage.scene.log();
    assert!(!log.contains(&*secret(1).to_text()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_join_is_answered_as_any_unknown_path() {
    let stage = Stage::set(Some(Coordinator::Works)).await;
    let good = request();
    let ours = |request: &JoinRequest| sent_by(&secret(1), request, &keys(1));
    let text = String::from_utf8(ours(&good)).unwrap();
    let long = vec![b' '; MAX_BODY_BYTES + 1];
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let expired = Ticket::issue(&keys(1), [7; 16], unix_ms() - 1, 1);
    let forged = Ticket::issue(&keys(2), [7; 16], unix_ms() + 600_000, 1);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an unknown path", b"POST /nowhere HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        ("another secret", sent_by(&secret(2), &good, &keys(1))),
        ("another token", sent_by(&secret(1), &good, &keys(2))),
        ("too old", ours(&JoinRequest { request_time: unix_ms() / 1000 - 400, ..good.clone() })),
        ("of the future", ours(&JoinRequest { request_time: unix_ms() / 1000 + 400, ..good.clone() })),
        ("an expired ticket", ours(&JoinRequest { ticket: expired, ..good.clone() })),
        ("a forged ticket", ours(&JoinRequest { ticket: forged, ..good.clone() })),
        ("too long", with_body(&secret(1), &long)),
        ("no JSON", with_body(&secret(1), b"hello")),
        ("no text", with_body(&secret(1), b"\xff\xfe")),
        ("nothing", with_body(&secret(1), b"")),
        ("another name", changed("\"n7\"", "\"n8\"")),
        ("no length", changed("Content-Length", "X-Length")),
        ("in pieces", changed("Content-Type: application/json", "Transfer-Encoding: chunked")),
        ("no header at all", [&text.as_bytes()[..64], b"\r\n"].concat()),
        ("another method", changed("POST", "PUT")),
        ("another version", changed("HTTP/1.1", "HTTP/1.0")),
        ("a query", changed(" HTTP/1.1", "?x HTTP/1.1")),
        ("a head without end", [&text.as_bytes()[..64], "x: y\r\n".repeat(1000).as_bytes()].concat()),
    ];
    for (what, bytes) in &cases {
        stage.same(what, &[bytes], Duration::ZERO, false).await;
        stage.same(what, &[bytes, b"GET /next HTTP/1.1\r\n\r\n"], Duration::from_millis(100), true).await;
    }
    let status = stage.scene.status_until(|status| status.active == 0).await;
    assert_eq!(status.joins, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_and_slow_senders_reach_the_target_as_they_are() {
    let stage = Stage::set(Some(Coordinator::Works)).await;
    let bytes = sent_by(&secret(2), &request(), &keys(1));
    for cut in [1, 4, 9, 10, 11, 30, 52, 53, 62, 63] {
        stage.same("half a line, then its end", &[&bytes[..cut]], Duration::ZERO, true).await;
    }
    let each: Vec<&[u8]> = bytes.chunks(1).take(80).collect();
    stage.same("byte by byte", &each, Duration::from_millis(1), false).await;
    // One that says no more is held back for two seconds.
    let took = stage.same("half a line and silence", &[&bytes[..30]], Duration::ZERO, false).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_away_or_stuck_costs_a_stranger_nothing_but_a_moment() {
    for behaviour in [None, Some(Coordinator::Stuck)] {
        let stage = Stage::set(behaviour).await;
        let bytes = sent_by(&secret(1), &request(), &keys(1));
        let took = stage.same("nobody can say", &[&bytes], Duration::ZERO, false).await;
        assert!(took < Duration::from_secs(4), "{took:?}");
        // Many at once do not queue.
        let begin = Instant::now();
        let crowd: Vec<_> = (0..50)
            .map(|_| {
                let (address, bytes) = (stage.scene.address(), bytes.clone());
                tokio::spawn(async move { say(address, &[&bytes], Duration::ZERO, false).await })
            })
            .collect();
        for answer in crowd {
            assert!(answer.await.unwrap().ends_with(&bytes));
        }
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_nodes_are_let_in_although_the_target_is_down() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"tcp://{closed}\"\n[join]\nsecret_file = \"/nonexistent\""));
    coordinator(&scene, Coordinator::Works);
    let _daemon = scene.start();
    let bytes = sent_by(&secret(1), &request(), &keys(1));
    let answer = say(scene.address(), &[&bytes[..10], &bytes[10..]], Duration::from_millis(200), false).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    // Everybody else still hears at once that nobody is there.
    let begin = Instant::now();
    assert_eq!(crate::refusal(&scene, b"GET / HTTP/1.1\r\n\r\n").await, std::io::ErrorKind::ConnectionReset);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_speaks_first_is_heard_by_a_silent_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"tcp://{target}\"\n[join]\nsecret_file = \"/nonexistent\""));
    coordinator(&scene, Coordinator::Works);
    let _daemon = scene.start();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"220 ready\r\n").await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    let mut greeting = [0; 11];
    timeout(LONG, client.read_exact(&mut greeting)).await.unwrap().unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    crate::ping(&mut client).await;
}
