//! HTTP mode, where bodies are long, slow, or not HTTP at all any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustbalance::ipc::proxy::FailureReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::LONG;
use crate::peer::{Client, Reply, Silent, Target, read_message};
use crate::supervisor::{Daemon, Scene};

/// Bytes of a long body, one GiB. Held anywhere, it would be seen.
const BODY: u64 = 1024 * 1024 * 1024;
/// How much more memory the proxy may have at any time.
pub(crate) const GROWTH_KIB: u64 = 16 * 1024;
const PIECE: usize = 64 * 1024;

/// A target that runs `serve` with each connection that says something.
pub(crate) async fn target<F: Future<Output = Option<()>> + Send + 'static>(
    serve: impl Fn(BufReader<TcpStream>) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let section = format!("target = \"http://{}\"\nmode = \"http\"", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(BufReader::new(stream)));
        }
    });
    section
}

/// The most memory that a daemon has ever had, in KiB.
pub(crate) fn peak_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn write_body(stream: &mut (impl AsyncWriteExt + Unpin), length: u64) -> Option<()> {
    let piece = vec![7; PIECE];
    for _ in 0..length / PIECE as u64 {
        stream.write_all(&piece).await.ok()?;
    }
    Some(())
}

async fn read_body(stream: &mut (impl AsyncReadExt + Unpin), length: u64) -> Option<()> {
    let (mut piece, mut left) = (vec![0; PIECE], length);
    while left > 0 {
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        left = left.checked_sub(read as u64)?;
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_stream_both_ways_and_are_never_held() {
    let section = target(|mut stream| async move {
        let asked = read_message_head(&mut stream).await?;
        if asked.starts_with("POST") {
            read_body(&mut stream, BODY).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok()
        } else {
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").as_bytes())
                .await
                .ok()?;
            write_body(&mut stream, BODY).await
        }
    })
    .await;
    let scene = Scene::new(&section);
    scene.configure("info", crate::supervisor::UNROUTABLE, &section);
    let daemon = scene.start();
    let before = peak_kib(&daemon);
    let began = std::time::Instant::now();
    let mut client = Client::new(scene.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    read_message_head(client.stream()).await.unwrap();
    read_body(client.stream(), BODY).await.unwrap();
    let down = began.elapsed();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n")).await;
    write_body(client.stream(), BODY).await.unwrap();
    assert_eq!(client.receive().await.status(), 200);
    let grown = peak_kib(&daemon) - before;
    println!("{BODY} bytes down in {down:?}, down and up in {:?}, {grown} KiB more memory", began.elapsed());
    assert!(grown < GROWTH_KIB, "{grown} KiB");
}

/// Reads to the empty line.
pub(crate) async fn read_message_head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_target() {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let section = target(move |mut stream| {
        let sent = Arc::clone(&counted);
        async move {
            read_message_head(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(&[b"8000\r\n", &vec![7; 0x8000][..], b"\r\n"].concat()).await.ok()?;
                sent.fetch_add(0x8000, Ordering::SeqCst);
            }
        }
    })
    .await;
    let scene = Scene::new(&format!("{section}\nidle_timeout_secs = 2"));
    let _daemon = scene.start();
    let mut client = Client::new(scene.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    scene.status_until(|status| status.failed.contains_key(&FailureReason::Idle)).await;
    // Two pairs of kernel buffers, which grow to some megabytes on loopback, and ours.
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 32 * 1024 * 1024, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_a_body_arrive_one_by_one() {
    let read = Arc::new(Notify::new());
    let section = target({
        let read = Arc::clone(&read);
        move |mut stream| {
            let read = Arc::clone(&read);
            async move {
                read_message_head(&mut stream).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.ok()?;
                for event in 0..3 {
                    stream.write_all(format!("data: {event}\n\n").as_bytes()).await.ok()?;
                    // Nothing follows before this one has arrived.
                    read.notified().await;
                }
                Some(())
            }
        }
    })
    .await;
    let scene = Scene::new(&section);
    let _daemon = scene.start();
    let mut client = Client::new(scene.address()).await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(read_message_head(client.stream()).await.unwrap().contains("transfer-encoding: chunked"));
    for event in 0..3 {
        let mut chunk = vec![0; format!("9\r\ndata: {event}\n\n\r\n").len()];
        timeout(LONG, client.stream().read_exact(&mut chunk)).await.expect("it is held back").unwrap();
        assert_eq!(String::from_utf8(chunk).unwrap(), format!("9\r\ndata: {event}\n\n\r\n"));
        read.notify_one();
    }
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A target that changes to an echo, and says something at once behind its head.
async fn echo_after_upgrade() -> String {
    target(|mut stream| async move {
        let asked = read_message(&mut stream, Silent::Empty).await?;
        assert_eq!(asked.header("upgrade"), Some("websocket"), "{}", asked.head);
        assert_eq!(asked.header("sec-websocket-version"), Some("13"));
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x01hello";
        stream.write_all(head.as_bytes()).await.ok()?;
        let (mut read, mut write) = stream.into_inner().into_split();
        tokio::io::copy(&mut read, &mut write).await.ok()?;
        write.shutdown().await.ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_changes_its_protocol_is_carried_byte_for_byte() {
    let scene = Scene::new(&format!("{}\nidle_timeout_secs = 3", echo_after_upgrade().await));
    let _daemon = scene.start();
    let mut client = Client::new(scene.address()).await;
    client.send(UPGRADE).await;
    let answer = client.receive_as(Silent::Empty).await;
    assert_eq!((answer.status(), answer.header("upgrade")), (101, Some("websocket")));
    assert!(
        answer.header("sec-websocket-accept").is_some() && answer.header("connection") == Some("upgrade")
    );
    let mut said = [0; 6];
    timeout(LONG, client.stream().read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"\x01hello");
    // Whatever it is, it is not looked at.
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    for _ in 0..5 {
        client.send(&bytes).await;
        let mut echoed = vec![0; bytes.len()];
        timeout(LONG, client.stream().read_exact(&mut echoed)).await.unwrap().unwrap();
        assert!(echoed == bytes);
    }
    let nonsense = "GET / HTTP/1.1\nno\0host\r\r";
    client.send(nonsense).await;
    let mut echoed = vec![0; nonsense.len()];
    timeout(LONG, client.stream().read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(echoed, nonsense.as_bytes());
    client.stream().shutdown().await.unwrap();
    assert!(client.is_over().await);
    scene.status_until(|status| status.finished == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_protocol_that_is_refused_or_not_wanted_is_a_request_like_others() {
    let mut target = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await;
    let scene = Scene::new(&target.section());
    let _daemon = scene.start();
    let mut client = Client::new(scene.address()).await;
    for (request, passed_on) in [
        (UPGRADE.to_owned(), Some("websocket")),
        (UPGRADE.replace("websocket", "h2c"), None),
        (UPGRADE.replace("keep-alive, Upgrade", "keep-alive"), None),
        (UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi"), None),
    ] {
        assert_eq!(client.ask(&request).await.body, b"no");
        assert_eq!(target.asked().await.header("upgrade"), passed_on, "{request}");
    }
    // A target that changes to what nobody asked for.
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let target = Target::new(|_| Reply::Send(head.into())).await;
    let scene = Scene::new(&target.section());
    let _daemon = scene.start();
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), UPGRADE.replace("websocket", "h2c")] {
        assert_eq!(Client::new(scene.address()).await.ask(&request).await.status(), 502);
    }
}
