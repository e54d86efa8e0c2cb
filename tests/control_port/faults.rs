//! What a peer may do wrong, and that nothing worse than an error comes of it.

use std::time::{Duration, Instant};

use data_encoding::HEXUPPER;
use rustbalance::proto::onion::address::HsId;
use rustbalance::tor::address::ControlAuth;
use rustbalance::tor::controller::Controller;
use rustbalance::tor::error::{CloseReason, ControlError};
use rustbalance::tor::event::{EventKind, TorEvent};
use rustbalance::tor::reply::FramingError;
use tokio::time::timeout;

use crate::peer::{PATIENCE, PATIENT, Peer, QUICK, connect, cookie_offer, event, refused, start};

const ADDRESS: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid";

/// The reason with which a command fails on a closed connection.
fn closed(error: &ControlError) -> CloseReason {
    match error {
        ControlError::Closed { reason } => *reason,
        other => panic!("not closed: {other}"),
    }
}

#[tokio::test]
async fn an_end_inside_a_reply_is_an_end() {
    for cut in ["", "2", "250-vers", "250-version=0.4.9.11\r\n", "250+version=\r\n0.4\r\n.\r"] {
        let (controller, mut events, _) = connect(PATIENT, async move |mut peer: Peer| {
            peer.answer("GETINFO version", cut).await;
        })
        .await;
        let started = Instant::now();
        assert_eq!(closed(&controller.getinfo("version").await.unwrap_err()), CloseReason::Eof, "{cut:?}");
        assert!(started.elapsed() < Duration::from_secs(2), "noticed at once, not by a time limit");
        assert_eq!(event(&mut events).await, TorEvent::Closed { reason: CloseReason::Eof });
        assert_eq!(events.recv().await, None);
        assert_eq!(controller.closed(), Some(CloseReason::Eof));
        assert_eq!(closed(&controller.getinfo("version").await.unwrap_err()), CloseReason::Eof, "for ever");
    }
}

#[tokio::test]
async fn an_end_without_a_command_is_reported() {
    let (_controller, mut events, _) = connect(PATIENT, async |_| {}).await;
    assert_eq!(event(&mut events).await, TorEvent::Closed { reason: CloseReason::Eof });
}

#[tokio::test]
async fn what_is_not_the_protocol_closes_the_connection() {
    let endless_lines = "250-x\r\n".repeat(10_000);
    for (bytes, error) in [
        ("x".repeat(1_000_000), FramingError::LongLine),
        ("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), FramingError::NoStatus),
        ("\0\u{1}\u{2}\n".to_owned(), FramingError::NoStatus),
        ("250-version=1\r\n650 NEWCONSENSUS\r\n".to_owned(), FramingError::MixedStatus),
        (endless_lines, FramingError::ManyLines),
    ] {
        let (controller, mut events, peer) = connect(PATIENT, async move |mut peer: Peer| {
            peer.answer("GETINFO version", bytes).await;
            peer.stay().await;
        })
        .await;
        let reason = CloseReason::Framing(error);
        assert_eq!(closed(&controller.getinfo("version").await.unwrap_err()), reason);
        assert_eq!(event(&mut events).await, TorEvent::Closed { reason });
        timeout(PATIENCE, peer).await.expect("the client has closed").unwrap();
    }
}

#[tokio::test]
async fn an_answer_to_nothing_closes_the_connection() {
    let (_controller, mut events, _peer) = connect(PATIENT, async |mut peer: Peer| {
        peer.send("250 OK\r\n").await;
        peer.stay().await;
    })
    .await;
    assert_eq!(event(&mut events).await, TorEvent::Closed { reason: CloseReason::Unasked });
}

#[tokio::test]
async fn a_peer_that_says_nothing_times_out() {
    let (address, _peer) = start(async |mut peer: Peer| peer.stay().await).await;
    let started = Instant::now();
    let error = refused(&address, &ControlAuth::Auto).await;
    assert!(matches!(error, ControlError::TimedOut { command: "PROTOCOLINFO", .. }), "{error}");
    assert!(started.elapsed() >= QUICK.command && started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_command_without_answer_times_out_and_closes() {
    // The drip of events must not count as an answer.
    let (controller, mut events, _peer) = connect(QUICK, async |mut peer: Peer| {
        for _ in 0..500 {
            peer.send("650 NETWORK_LIVENESS UP\r\n").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (first, second) = tokio::join!(controller.getinfo("version"), controller.getinfo("uptime"));
    let first = first.unwrap_err();
    assert!(matches!(first, ControlError::TimedOut { command: "GETINFO", limit } if limit == QUICK.command));
    let reason = CloseReason::TimedOut { command: "GETINFO" };
    assert_eq!(closed(&second.unwrap_err()), reason, "what waited behind it fails too");
    while events.recv().await.expect("closed is told") != (TorEvent::Closed { reason }) {}
}

#[tokio::test]
async fn a_peer_that_reads_nothing_times_out() {
    let (controller, _events, _peer) = connect(QUICK, async |peer: Peer| {
        tokio::time::sleep(PATIENCE).await;
        drop(peer);
    })
    .await;
    let large = "x".repeat(1_000_000);
    for _ in 0..20 {
        // The kernel takes some of it; no amount of commands may get stuck for longer than their limit.
        let sent = timeout(PATIENCE, controller.setconf(&[("ContactInfo", Some(&large))])).await;
        assert!(sent.expect("the time limit covers the writing").is_err());
    }
}

#[tokio::test]
async fn an_answer_in_single_bytes_is_an_answer() {
    let (controller, _events, _peer) = connect(PATIENT, async |mut peer: Peer| {
        assert_eq!(peer.line().await.as_deref(), Some("GETINFO md/all"));
        for byte in b"250+md/all=\r\nonion-key\r\n..dot\r\n.\r\n250 OK\r\n" {
            peer.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        peer.stay().await;
    })
    .await;
    assert_eq!(controller.getinfo("md/all").await.unwrap(), "onion-key\n.dot\n");
}

#[tokio::test]
async fn an_answer_to_another_question_is_no_answer() {
    let (controller, _events, _peer) = connect(PATIENT, async |mut peer: Peer| {
        peer.answer("GETINFO version", "250 OK\r\n").await;
        peer.answer("GETINFO version", "250-versions=1\r\n250 OK\r\n").await;
        peer.answer("GETINFO version", "552 Unrecognized\u{1b}[31m key\r\n").await;
        peer.answer("GETINFO version", "250-version=1\r\n250 OK\r\n").await;
        peer.stay().await;
    })
    .await;
    for _ in 0..2 {
        let error = controller.getinfo("version").await.unwrap_err();
        assert!(matches!(error, ControlError::Answer { command: "GETINFO", .. }), "{error}");
    }
    let error = controller.getinfo("version").await.unwrap_err().to_string();
    assert_eq!(error, "tor refused GETINFO: 552 Unrecognized\\u{1b}[31m key", "safe for a terminal");
    assert_eq!(controller.getinfo("version").await.unwrap(), "1", "the connection goes on");
}

#[tokio::test]
async fn a_dropped_command_does_not_mix_up_the_answers() {
    let (controller, _events, _peer) = connect(PATIENT, async |mut peer: Peer| {
        assert_eq!(peer.line().await.as_deref(), Some("GETINFO version"));
        tokio::time::sleep(Duration::from_millis(200)).await;
        peer.send("250-version=1\r\n250 OK\r\n").await;
        peer.answer("GETINFO uptime", "250-uptime=2\r\n250 OK\r\n").await;
        peer.stay().await;
    })
    .await;
    assert!(timeout(Duration::from_millis(100), controller.getinfo("version")).await.is_err());
    assert_eq!(controller.getinfo("uptime").await.unwrap(), "2");
}

#[tokio::test]
async fn the_connection_closes_with_its_last_controller() {
    let (controller, _events, peer) = connect(PATIENT, async |mut peer: Peer| peer.stay().await).await;
    let clone = controller.clone();
    drop(controller);
    assert_eq!(clone.closed(), None);
    drop(clone);
    timeout(PATIENCE, peer).await.expect("the peer sees the end").unwrap();
}

#[tokio::test]
async fn a_flood_of_events_holds_nothing_up_and_is_reported() {
    const FLOOD: u64 = 10_000;
    let (controller, mut events, _peer) = connect(PATIENT, async |mut peer: Peer| {
        peer.send("650 NETWORK_LIVENESS UP\r\n".repeat(usize::try_from(FLOOD).unwrap())).await;
        peer.answer("GETINFO version", "250-version=1\r\n250 OK\r\n").await;
        peer.answer("SETEVENTS", "250 OK\r\n650 NETWORK_LIVENESS DOWN\r\n").await;
        peer.stay().await;
    })
    .await;
    assert_eq!(controller.getinfo("version").await.unwrap(), "1", "answered although nobody reads events");

    let (mut seen, mut missed) = (0, 0);
    while seen + missed < FLOOD {
        match event(&mut events).await {
            TorEvent::NetworkLiveness { up: true } => {
                assert_eq!(missed, 0, "what is missing is told at its place");
                seen += 1;
            }
            TorEvent::Missed { count } => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((seen, missed), (4, FLOOD - 4), "the queue's length, and all others counted once");

    controller.setevents(&[]).await.unwrap();
    assert_eq!(event(&mut events).await, TorEvent::NetworkLiveness { up: false }, "events go on");
}

#[tokio::test]
async fn an_event_that_is_not_understood_counts_as_missed() {
    let large = "x".repeat(60_000) + "\r\n";
    let content = format!("650+HS_DESC_CONTENT {ADDRESS} x UNKNOWN\r\n{}.\r\n650 OK\r\n", large.repeat(2));
    let (_controller, mut events, _peer) = connect(PATIENT, async move |mut peer: Peer| {
        for bytes in ["650 CIRC 7\r\n", "650 \r\n", "650 HS_DESC CREATED x\r\n", content.as_str()] {
            peer.send(bytes).await;
        }
        peer.send("650 FUTURE a b\r\n").await;
        peer.stay().await;
    })
    .await;
    let mut missed = 0;
    loop {
        match event(&mut events).await {
            TorEvent::Missed { count } => missed += count,
            other => {
                assert_eq!(other, TorEvent::Other { keyword: "FUTURE".into() });
                break;
            }
        }
    }
    assert_eq!(missed, 4);
}

#[tokio::test]
async fn a_peer_that_does_not_know_the_cookie_learns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cookie");
    std::fs::write(&path, [7; 32]).unwrap();
    let offer = cookie_offer("COOKIE,SAFECOOKIE", &path);
    let (address, peer) = start(async move |mut peer: Peer| {
        peer.offer(&offer).await;
        let challenge = peer.line().await.unwrap();
        let nonce = challenge.strip_prefix("AUTHCHALLENGE SAFECOOKIE ").unwrap();
        assert_eq!(nonce.len(), 64);
        let (hash, nonce) = ("00".repeat(32), "11".repeat(32));
        peer.send(format!("250 AUTHCHALLENGE SERVERHASH={hash} SERVERNONCE={nonce}\r\n")).await;
        assert_eq!(peer.line().await, None, "nothing more is said to it");
    })
    .await;
    let error = refused(&address, &ControlAuth::Auto).await;
    assert!(matches!(error, ControlError::WrongServerHash), "{error}");
    peer.await.unwrap();
}

#[tokio::test]
async fn only_a_cookie_is_read_and_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (short, long) = (folder.path().join("short"), folder.path().join("long"));
    std::fs::write(&short, [7; 31]).unwrap();
    std::fs::write(&long, [7; 33]).unwrap();
    for path in [short, long, folder.path().to_owned(), "/dev/zero".into()] {
        for methods in ["COOKIE", "COOKIE,SAFECOOKIE"] {
            let offer = cookie_offer(methods, &path);
            let (address, peer) = start(async move |mut peer: Peer| {
                peer.offer(&offer).await;
                assert_eq!(peer.line().await, None, "nothing more is said to it");
            })
            .await;
            let error = refused(&address, &ControlAuth::Auto).await;
            assert!(matches!(error, ControlError::NotACookie { .. }), "{error}");
            peer.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_tor_that_knows_only_the_plain_cookie_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cookie");
    std::fs::write(&path, [0xa7; 32]).unwrap();
    let offer = cookie_offer("COOKIE", &path);
    let (address, _peer) = start(async move |mut peer: Peer| {
        peer.offer(&offer).await;
        peer.answer(&format!("AUTHENTICATE {}", "A7".repeat(32)), "250 OK\r\n").await;
        peer.stay().await;
    })
    .await;
    Controller::connect_with(&address, &ControlAuth::Auto, PATIENT).await.unwrap();
}

#[tokio::test]
async fn a_password_goes_only_where_it_is_wanted_and_into_no_error() {
    let password = ControlAuth::Password("correct horse".into());
    let hex = HEXUPPER.encode(b"correct horse");
    let expected = format!("AUTHENTICATE {hex}");
    let (address, _peer) = start(async move |mut peer: Peer| {
        peer.offer("METHODS=HASHEDPASSWORD").await;
        // A false tor repeats it, hoping that it is logged.
        peer.answer(&expected, format!("515 not correct horse {hex}\r\n")).await;
    })
    .await;
    let error = refused(&address, &password).await;
    assert!(matches!(error, ControlError::AuthRefused { status: 515 }), "{error}");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("correct") && !shown.contains("636F7272"), "{shown}");
    }

    let (address, peer) = start(async |mut peer: Peer| {
        peer.offer("METHODS=COOKIE,SAFECOOKIE COOKIEFILE=\"/nowhere\"").await;
        assert_eq!(peer.line().await, None, "nothing more is said to it");
    })
    .await;
    let error = refused(&address, &password).await;
    assert!(matches!(error, ControlError::NoUsableAuth { .. }), "{error}");
    peer.await.unwrap();
}

#[tokio::test]
async fn posting_and_fetching_name_the_hsdirs() {
    let (controller, _events, _peer) = connect(PATIENT, async |mut peer: Peer| {
        let servers = format!("SERVER={} SERVER={}", "01".repeat(20), "02".repeat(20));
        for line in [format!("+HSPOST {servers} HSADDRESS={ADDRESS}"), "a".into(), "..".into(), ".".into()] {
            assert_eq!(peer.line().await, Some(line));
        }
        peer.send("250 OK\r\n").await;
        peer.answer(&format!("HSFETCH {ADDRESS} {servers}"), "250 OK\r\n").await;
        peer.answer("SETEVENTS HS_DESC HS_DESC_CONTENT", "250 OK\r\n").await;
        peer.stay().await;
    })
    .await;
    let service = HsId::from_address(ADDRESS).unwrap();
    controller.hspost(&[[1; 20], [2; 20]], &service, "a\n.\n").await.unwrap();
    controller.hsfetch(&service, &[[1; 20], [2; 20]]).await.unwrap();
    controller.setevents(&[EventKind::HsDesc, EventKind::HsDescContent]).await.unwrap();
}
