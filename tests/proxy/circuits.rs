//! `[proxy.circuits]`: what tor says in front of a connection, and circuits that ask for too much.

use std::time::{Duration, Instant};

use rustbalance::ipc::proxy::FailureReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::peer::Target;
use crate::supervisor::Scene;
use crate::{LONG, echo, ends, ping};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// A limit that a test meets at once, and nothing flows in while it looks.
const TIGHT: &str = "[proxy.circuits]\nrequests_per_second = 1\nburst = 3\nconnections = 2\nclose_after = 4";

/// What tor writes in front of a connection over that circuit.
fn line(circuit: u32) -> Vec<u8> {
    let (high, low) = (circuit >> 16, circuit & 0xffff);
    format!("PROXY TCP6 fc00:dead:beef:4dad::{high:x}:{low:x} ::1 {low} 80\r\n").into_bytes()
}

/// A connection over that circuit.
async fn over(scene: &Scene, circuit: u32) -> TcpStream {
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    stream.write_all(&line(circuit)).await.unwrap();
    stream
}

/// The status line of the answer to a request.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    let length = tokio::time::timeout(LONG, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tors_word_is_taken_away_and_the_rest_is_carried_whole() {
    let scene = Scene::new(&format!("{}\n[proxy.circuits]", echo().await)).with_unix();
    let _daemon = scene.start();
    ping(&mut over(&scene, 7).await).await;
    // In pieces, with bytes right behind it, and over the socket that tor uses.
    let mut stream = UnixStream::connect(scene.unix_path()).await.unwrap();
    let word = [&line(0x0001_0002)[..], b"first "].concat();
    for piece in word.chunks(9) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut first = [0; 6];
    tokio::time::timeout(LONG, stream.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"first ");
    ping(&mut stream).await;
    assert!(!scene.log().contains("4dad"), "nothing about circuits is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tors_word_nobody_is_carried_and_the_operator_hears_why_once() {
    let scene = Scene::new(&format!("{}\n[proxy.circuits]", echo().await));
    let _daemon = scene.start();
    for hello in
        [&b"GET / HTTP/1.1\r\n"[..], b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY TCP6 ::1 ::1 1 2\r\n"]
    {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        stream.write_all(hello).await.unwrap();
        assert!(ends(&mut stream, LONG).await);
    }
    // Silence is not waited for in vain.
    let (began, mut silent) = (Instant::now(), TcpStream::connect(scene.address()).await.unwrap());
    assert!(ends(&mut silent, LONG).await);
    assert!(began.elapsed() >= Duration::from_secs(4), "a slow tor is waited for");
    let status = scene.status_until(|status| status.failed.get(&FailureReason::NoCircuit) == Some(&4)).await;
    assert_eq!((status.target_well, status.bytes_to_target), (true, 0));
    let log = scene.log();
    assert_eq!(log.matches("HiddenServiceExportCircuitID haproxy").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_that_asks_for_too_much_is_refused_and_then_named_while_others_are_served() {
    let target = Target::always(OK).await;
    let scene = Scene::new(&format!("{}\n{TIGHT}", target.section()));
    let _daemon = scene.start();
    let mut greedy = over(&scene, 9).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(ask(&mut greedy).await);
    }
    assert_eq!(answers, ["HTTP/1.1 200 OK"; 3]);
    assert_eq!(ask(&mut greedy).await, "HTTP/1.1 429 Too Many Requests");
    for _ in 0..3 {
        assert_eq!(ask(&mut over(&scene, 9).await).await, "HTTP/1.1 429 Too Many Requests");
    }
    let status = scene.status_until(|status| !status.abusive_circuits.is_empty()).await;
    assert_eq!((status.abusive_circuits, status.over_limit), (vec![9], 4));
    assert_eq!(ask(&mut over(&scene, 10).await).await, "HTTP/1.1 200 OK");
    assert!(status.target_well);
    // For some seconds, so that who closes circuits cannot miss it.
    scene.status_until(|status| status.abusive_circuits.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_at_once_are_bounded_where_bytes_are_carried_as_they_are() {
    let scene = Scene::new(&format!("{}\n{TIGHT}", echo().await));
    let _daemon = scene.start();
    let (mut first, mut second) = (over(&scene, 5).await, over(&scene, 5).await);
    ping(&mut first).await;
    ping(&mut second).await;
    assert!(ends(&mut over(&scene, 5).await, LONG).await);
    drop(first);
    scene.status_until(|status| status.active == 1).await;
    ping(&mut over(&scene, 5).await).await;
}
