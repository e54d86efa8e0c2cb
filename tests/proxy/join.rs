//! Requests to join, at the proxy's real binary: recognised, handed over and answered, or else carried to the target
//! exactly as every other connection, so that nobody can tell that there is such a path.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustbalance::ipc::coordinator::{Checked, CoordinatorCall, JoinHttpAnswer, JoinReply};
use rustbalance::ipc::server::{self, Limits};
use rustbalance::proto::join::http::LINE_BYTES;
use rustbalance::proto::join::secret::SecretDigest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::LONG;
use crate::peer::{Client, Message, Target};
use crate::supervisor::Scene;

/// Others may join here. The proxy never opens the file.
const JOIN: &str = "\n[join]\nsecret_file = \"/nonexistent\"";
const GREETING: &[u8] = b"220 a target that speaks first\r\n";

fn secret() -> String {
    "s".repeat(43)
}

fn request(secret: &str, body: &str) -> Vec<u8> {
    format!("POST /.rb/{secret} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// A target that keeps what each connection sends, and answers every one with the same page once it has heard something
/// and nothing more comes.
async fn target(speaks_first: bool) -> (String, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("target = \"tcp://{}\"{JOIN}", listener.local_addr().unwrap());
    let (heard, all) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                if speaks_first {
                    stream.write_all(GREETING).await.unwrap();
                }
                let mut bytes = Vec::new();
                loop {
                    let pause = if bytes.is_empty() { LONG } else { Duration::from_millis(300) };
                    match timeout(pause, stream.read_buf(&mut bytes)).await {
                        Ok(Ok(read)) if read > 0 => {}
                        _ => break,
                    }
                }
                if !bytes.is_empty() {
                    let _ =
                        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnope\n").await;
                    let _ = heard.send(bytes);
                }
            });
        }
    });
    (target, all)
}

/// A coordinator that knows the secret and lets everybody in who sends `welcome`.
struct Coordinator {
    bodies: mpsc::UnboundedReceiver<String>,
    dumb: Arc<AtomicBool>,
}

fn coordinator(scene: &Scene) -> Coordinator {
    let listener = UnixListener::bind(scene.path().join("coordinator.sock")).unwrap();
    let (calls, mut inbox) = mpsc::channel(8);
    let own = BTreeSet::from([nix::unistd::geteuid().as_raw()]);
    tokio::spawn(server::serve::<CoordinatorCall>(listener, own, calls, Limits::default()));
    let (said, bodies) = mpsc::unbounded_channel();
    let dumb = Arc::new(AtomicBool::new(false));
    let is_dumb = Arc::clone(&dumb);
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some(call) = inbox.recv().await {
            match call {
                call if is_dumb.load(Ordering::SeqCst) => unanswered.push(call),
                CoordinatorCall::CheckSecret { digest, reply } => {
                    reply.answer(&Checked { ours: digest == SecretDigest::of(&secret()) });
                }
                CoordinatorCall::Join { body, reply } => {
                    let answer = (body == "welcome").then(|| JoinHttpAnswer {
                        status: 200,
                        retry_after_secs: None,
                        body: "{\"come\":\"in\"}".to_owned(),
                    });
                    said.send(body).unwrap();
                    reply.answer(&JoinReply { answer });
                }
                other => panic!("{other:?}"),
            }
        }
    });
    Coordinator { bodies, dumb }
}

/// Sends these pieces, pausing in between; all that comes back until the end, and how long that took.
async fn exchange(scene: &Scene, pieces: &[&[u8]], pause: Duration) -> (Vec<u8>, Duration) {
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            sleep(pause).await;
        }
        client.write_all(piece).await.unwrap();
    }
    let begun = Instant::now();
    let mut answer = Vec::new();
    timeout(LONG, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    (answer, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_join_is_answered_and_the_target_hears_nothing() {
    let (target, mut heard) = target(false).await;
    let scene = Scene::new(&target);
    let mut coordinator = coordinator(&scene);
    let _daemon = scene.start();
    let whole = request(&secret(), "welcome");
    let cuts = [
        &[&whole[..]][..],
        &[&whole[..LINE_BYTES], &whole[LINE_BYTES..]],
        &[&whole[..20], &whole[20..90], &whole[90..]],
    ];
    for pieces in cuts {
        let (answer, _) = exchange(&scene, pieces, Duration::from_millis(100)).await;
        let text = String::from_utf8(answer).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n{\"come\":\"in\"}"),
            "{text}"
        );
        assert_eq!(coordinator.bodies.recv().await.unwrap(), "welcome");
    }
    let status = scene.status_until(|status| status.joins == 3).await;
    assert_eq!((status.finished, status.bytes_to_target), (0, 0), "{status:?}");
    assert!(status.target_well);
    assert!(heard.try_recv().is_err());
    assert!(!scene.log().contains(&secret()) && !scene.log().contains("welcome"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_join_is_any_unknown_path() {
    let (target, mut heard) = target(false).await;
    let scene = Scene::new(&target);
    let _coordinator = coordinator(&scene);
    let _daemon = scene.start();
    let line = format!("POST /.rb/{} HTTP/1.1\r\n", secret());
    let unknown = request(&"x".repeat(40), "x");
    let (expected, _) = exchange(&scene, &[&unknown], Duration::ZERO).await;
    assert_eq!(heard.recv().await.unwrap(), unknown);
    let oversized = format!("{line}Content-Length: 8193\r\n\r\n{}", "x".repeat(8193)).into_bytes();
    let endless = format!("{line}x: {}", "y".repeat(5000)).into_bytes();
    let pipelined = [request(&secret(), "no"), b"GET / HTTP/1.1\r\n\r\n".to_vec()].concat();
    let chunked = format!("{line}Transfer-Encoding: chunked\r\n\r\n7\r\nwelcome\r\n0\r\n\r\n").into_bytes();
    for (what, bytes) in [
        ("a wrong secret", request(&"t".repeat(43), "welcome")),
        ("a refused body", request(&secret(), "token or time wrong")),
        (
            "a body that is no text",
            [
                request(&secret(), "")[..request(&secret(), "").len() - 5].to_vec(),
                b"2\r\n\r\n\xff\xfe".to_vec(),
            ]
            .concat(),
        ),
        ("a body beyond the limit", oversized),
        ("a head beyond the limit", endless),
        ("a chunked body", chunked),
        ("two lengths", format!("{line}Content-Length: 7\r\nContent-Length: 7\r\n\r\nwelcome").into_bytes()),
        ("no length", format!("{line}\r\n").into_bytes()),
        ("more behind it", pipelined),
        ("another method", request(&secret(), "x").iter().map(u8::to_ascii_uppercase).collect()),
        ("half a line", line.as_bytes()[..30].to_vec()),
        ("nothing but the line", line.clone().into_bytes()[..LINE_BYTES - 1].to_vec()),
    ] {
        let (answer, _) = exchange(&scene, &[&bytes], Duration::ZERO).await;
        assert_eq!(answer, expected, "{what}");
        assert_eq!(heard.recv().await.unwrap(), bytes, "{what}: the target gets it byte for byte");
    }
    let status = scene.status_until(|status| status.finished == 13).await;
    assert_eq!((status.joins, status.failed.len()), (0, 0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_is_held_back_for_a_moment_only() {
    let (target, mut heard) = target(false).await;
    let scene = Scene::new(&target);
    let _coordinator = coordinator(&scene);
    let _daemon = scene.start();
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    let whole = request(&secret(), "welcome");
    client.write_all(&whole[..25]).await.unwrap();
    // It is the target's by then, so that the rest makes no join of it.
    assert_eq!(timeout(LONG, heard.recv()).await.unwrap().unwrap(), whole[..25]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_speaks_first_and_a_coordinator_that_is_away_or_dumb_do_no_harm() {
    let (target, mut heard) = target(true).await;
    let scene = Scene::new(&target);
    let _daemon = scene.start();
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    let mut greeting = vec![0; GREETING.len()];
    timeout(LONG, client.read_exact(&mut greeting)).await.unwrap().unwrap();
    assert_eq!(greeting, GREETING, "although the client has said nothing");
    drop(client);
    let whole = request(&secret(), "welcome");
    exchange(&scene, &[&whole], Duration::ZERO).await;
    assert_eq!(heard.recv().await.unwrap(), whole, "there is no coordinator");
    let coordinator = coordinator(&scene);
    coordinator.dumb.store(true, Ordering::SeqCst);
    exchange(&scene, &[&whole], Duration::ZERO).await;
    assert_eq!(heard.recv().await.unwrap(), whole, "it does not answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_works_while_the_target_is_down_and_others_are_reset() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"tcp://{free}\"{JOIN}"));
    let mut coordinator = coordinator(&scene);
    let _daemon = scene.start();
    let (answer, _) = exchange(&scene, &[&request(&secret(), "welcome")], Duration::ZERO).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(coordinator.bodies.recv().await.unwrap(), "welcome");
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(timeout(LONG, client.read(&mut [0; 16])).await.unwrap().is_err());
    // Probes, and nobody else, have tried since.
    scene.status_until(|status| !status.target_well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_http_mode_a_node_is_let_in_and_whoever_may_not_join_finds_an_unknown_path() {
    let mut target = Target::always("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone").await;
    let scene = Scene::new(&format!("{}{JOIN}", target.section()));
    let mut coordinator = coordinator(&scene);
    let _daemon = scene.start();
    let whole = request(&secret(), "welcome");
    for pieces in [&[&whole[..]][..], &[&whole[..20], &whole[20..90], &whole[90..]]] {
        let (answer, _) = exchange(&scene, pieces, Duration::from_millis(50)).await;
        let text = String::from_utf8(answer).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("{\"come\":\"in\"}"), "{text}");
        assert_eq!(coordinator.bodies.recv().await.unwrap(), "welcome");
    }
    assert!(target.is_quiet());
    scene.status_until(|status| status.joins == 2).await;

    let unknown = Client::new(scene.address()).await.ask(request(&"x".repeat(43), "x")).await;
    let asked = target.asked().await;
    for (what, secret, body) in [
        ("another secret", "t".repeat(43), "welcome".to_owned()),
        ("a refused body", secret(), "token or time wrong".to_owned()),
        ("a body beyond the limit", secret(), "x".repeat(8193)),
    ] {
        let answer = Client::new(scene.address()).await.ask(request(&secret, &body)).await;
        assert_eq!((undated(&answer), &answer.body), (undated(&unknown), &unknown.body), "{what}");
        let seen = target.asked().await;
        assert_eq!(seen.body, body.as_bytes(), "{what}");
        assert_eq!(seen.head.lines().count(), asked.head.lines().count(), "{what}");
    }
}

/// A head without its date.
fn undated(message: &Message) -> Vec<&str> {
    message.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:")).collect()
}
