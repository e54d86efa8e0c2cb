//! HTTP mode: real requests over sockets, both ends speaking for themselves.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustbalance::ipc::proxy::FailureReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{Client, Message, Reply, Silent, Target};
use crate::supervisor::{Daemon, Scene};
use crate::{ADDRESS, LONG};

/// What clients call the onion service.
const PUBLIC: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn start(target: &Target, more: &str) -> (Scene, Daemon) {
    let scene = Scene::new(&format!("{}\n{more}", target.section()));
    let daemon = scene.start();
    (scene, daemon)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_client_share_a_connection_and_those_of_two_never_do() {
    let mut target = Target::always(OK).await;
    let (scene, _daemon) = start(&target, "");
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut client = Client::new(scene.address()).await;
        for path in ["/a", "/b", "/c"] {
            let answer = client.ask(get(path)).await;
            assert_eq!((answer.status(), &answer.body[..]), (200, &b"ok"[..]));
            let asked = target.asked().await;
            assert_eq!(asked.first_line(), format!("GET {path} HTTP/1.1"));
            connections.push(asked.connection);
        }
    }
    assert_eq!(connections[..3], [connections[0]; 3]);
    assert_eq!(connections[3..], [connections[3]; 3]);
    assert_ne!(connections[0], connections[3]);
    let status = scene.status_until(|status| status.finished == 2).await;
    assert!(status.bytes_to_target > 0 && status.bytes_to_client > 0, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_exchanged_both_ways() {
    let mut target = Target::new(|asked| {
        let own = asked.header("host").unwrap();
        Reply::Send(
            format!(
                "HTTP/1.1 302 Over There\r\nLocation: http://{own}/next\r\nSet-Cookie: a=b; Domain=127.0.0.1\r\n\
                 Set-Cookie: c=d\r\nStrict-Transport-Security: max-age=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
                 Content-Length: 0\r\n\r\n"
            )
            .into_bytes(),
        )
    })
    .await;
    let (scene, _daemon) = start(&target, "");
    let mut client = Client::new(scene.address()).await;
    for line in ["GET /x?y HTTP/1.1".to_owned(), format!("GET http://{PUBLIC}:81/x?y HTTP/1.1")] {
        let answer = client
            .ask(format!(
                "{line}\r\nHost: {PUBLIC}:81\r\nReferer: http://{PUBLIC}:81/from\r\nX-Forwarded-For: 1\r\nTE: \
                 trailers, x\r\nConnection: x-mine\r\nX-Mine: 1\r\nCookie: a=b\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.first_line(), "HTTP/1.1 302 Over There");
        assert_eq!(answer.header("location"), Some(format!("http://{PUBLIC}:81/next").as_str()));
        let cookies: Vec<_> = answer.head.lines().filter(|line| line.starts_with("set-cookie")).collect();
        assert_eq!(cookies, [format!("set-cookie: a=b; Domain={PUBLIC}").as_str(), "set-cookie: c=d"]);
        assert_eq!((answer.header("strict-transport-security"), answer.header("x-hop")), (None, None));
        let asked = target.asked().await;
        assert_eq!(asked.first_line(), "GET /x?y HTTP/1.1");
        assert_eq!(asked.header("host"), Some(target.address.to_string().as_str()));
        assert_eq!(asked.header("referer"), Some(format!("http://{}/from", target.address).as_str()));
        assert_eq!((asked.header("x-forwarded-for"), asked.header("x-mine")), (None, None));
        assert_eq!((asked.header("te"), asked.header("cookie")), (Some("trailers"), Some("a=b")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_be_called_by_another_name_and_a_unix_socket_by_the_clients() {
    let mut target = Target::always(OK).await;
    let (scene, _daemon) = start(&target, "host = \"shop.example\"");
    Client::new(scene.address()).await.ask(get("/")).await;
    assert_eq!(target.asked().await.header("host"), Some("shop.example"));
    // HTTP/1.0 needs no host, the target does.
    let answer = Client::new(scene.address()).await.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.first_line(), &answer.body[..]), ("HTTP/1.0 200 OK", &b"ok"[..]));
    assert_eq!(target.asked().await.header("host"), Some("shop.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_can_be_read_in_two_ways_never_reach_the_target() {
    let mut target = Target::always(OK).await;
    let (scene, _daemon) = start(&target, "");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let post =
        |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}{smuggled}");
    for (status, bad) in [
        (400, post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        (400, post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\n")),
        (400, post("Content-Length: 0\r\nContent-Length: 50\r\n", "")),
        (400, post("Content-Length: 0\r\nContent-Length: 0\r\n", "")),
        (400, post("Content-Length: +0\r\n", "")),
        (400, post("Content-Length : 0\r\n", "")),
        (400, post("X: y\r\n Content-Length: 50\r\n", "")),
        (400, post("X: a\0b\r\n", "")),
        (400, post("X: a\rb\r\n", "")),
        (400, post("X: a\nContent-Length: 50\r\n", "")),
        (400, post("Host: b\r\n", "")),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "\x16\x03\x01 hello".to_owned()),
        (501, post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        (501, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (405, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned()),
        (405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (405, "REFUSED /200 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (417, post("Expect: more\r\n", "")),
        (414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000))),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(200))),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(40_000))),
    ] {
        for before in [false, true] {
            let mut client = Client::new(scene.address()).await;
            if before {
                client.send(format!("{}{bad}", get("/before"))).await;
                assert_eq!(client.receive().await.status(), 200, "{bad:?}");
                assert_eq!(target.asked().await.first_line(), "GET /before HTTP/1.1");
            } else {
                client.send(&bad).await;
            }
            let answer = client.receive().await;
            assert_eq!(answer.status(), status, "{bad:?}");
            assert_eq!(answer.header("connection"), Some("close"), "{bad:?}");
            assert!(client.is_over().await, "{bad:?}");
            assert!(target.is_quiet(), "{bad:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_bad_chunks_is_no_request_for_the_target() {
    let mut target = Target::always(OK).await;
    let (scene, _daemon) = start(&target, "");
    for chunk in ["5\r\nhello\r\nxyz\r\n", "5\r\nhelloo\r\n", "5\nhello", "0\r\nGET / HTTP/1.1\r\n"] {
        let head = format!("POST /bad HTTP/1.1\r\nHost: {PUBLIC}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut client = Client::new(scene.address()).await;
        let answer = client.ask(format!("{head}{chunk}{}", get("/smuggled"))).await;
        assert_eq!(answer.status(), 400, "{chunk:?}");
        assert!(client.is_over().await, "{chunk:?}");
        assert!(target.is_quiet(), "{chunk:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_the_lack_of_them_arrive_as_they_were() {
    let mut target = Target::new(|asked| {
        let response: &[u8] = match asked.first_line().split(' ').nth(1).unwrap() {
            "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            "/chunks" => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n3;x=y\r\ndef\r\n\
                  0\r\nX-Sum: 7\r\n\r\n"
            }
            "/both" => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n"
            }
            "/close" => return Reply::Last(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
            "/old" => return Reply::Last(b"HTTP/1.0 200 OK\r\n\r\nold".to_vec()),
            "/early" => b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ne",
            _ => OK.as_bytes(),
        };
        Reply::Send(response.to_vec())
    })
    .await;
    let (scene, _daemon) = start(&target, "");
    let mut client = Client::new(scene.address()).await;
    client.send(get("/head").replace("GET", "HEAD")).await;
    let head = client.receive_head_only().await;
    assert_eq!(head.header("content-length"), Some("1000"));
    for (path, status) in [("/204", 204), ("/304", 304)] {
        client.send(get(path)).await;
        let answer = client.receive_as(Silent::Empty).await;
        assert_eq!((answer.status(), answer.body.len()), (status, 0));
        assert_eq!(answer.header("transfer-encoding"), None);
    }
    let chunks = client.ask(get("/chunks").replace("\r\n\r\n", "\r\nTE: trailers\r\n\r\n")).await;
    assert_eq!((&chunks.body[..], chunks.trailers.as_str()), (&b"abcdef"[..], "x-sum: 7\r\n"));
    for (path, body) in
        [("/both", "abcdef"), ("/close", "until the end"), ("/old", "old"), ("/early", "e"), ("/", "ok")]
    {
        let answer = client.ask(get(path)).await;
        assert_eq!((answer.status(), String::from_utf8_lossy(&answer.body).as_ref()), (200, body), "{path}");
        assert!(answer.head.starts_with("HTTP/1.1 "), "{}", answer.head);
    }
    while !target.is_quiet() {}
    let chunked =
        "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n";
    client.ask(format!("POST /p HTTP/1.1\r\nHost: a\r\n{chunked}")).await;
    let asked = target.asked().await;
    assert_eq!((&asked.body[..], asked.trailers.as_str()), (&b"hello world"[..], "x-t: 1\r\n"));
    assert_eq!((asked.header("content-length"), asked.header("transfer-encoding")), (None, Some("chunked")));
    for method in ["POST", "PUT", "DELETE", "GET"] {
        client.ask(format!("{method} /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")).await;
        let asked = target.asked().await;
        assert_eq!((&asked.body[..], asked.header("content-length")), (&b"hello"[..], Some("5")), "{method}");
    }
    client.ask("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(target.asked().await.header("content-length"), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_hundred_gets_it_when_the_target_is_there() {
    let mut target = Target::always(OK).await;
    let (scene, _daemon) = start(&target, "");
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut client = Client::new(scene.address()).await;
    client.send(head).await;
    assert_eq!(client.receive_as(Silent::Empty).await.first_line(), "HTTP/1.1 100 Continue");
    assert_eq!(client.ask("body").await.status(), 200);
    let asked = target.asked().await;
    assert_eq!((asked.header("expect"), &asked.body[..]), (None, &b"body"[..]));
    // Without a target nothing of the body is asked for.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"http://{closed}\"\nmode = \"http\""));
    let _daemon = scene.start();
    assert_eq!(Client::new(scene.address()).await.ask(head).await.status(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_target_closed_costs_a_harmless_request_nothing() {
    // Every second request on a connection finds it closed, without a byte.
    let mut target = Target::new(|asked| {
        let closes = !asked.first_line().contains("first") && asked.connection % 2 == 1;
        if closes { Reply::Last(Vec::new()) } else { Reply::Send(OK.into()) }
    })
    .await;
    let (scene, _daemon) = start(&target, "");
    let mut outcomes = Vec::new();
    for request in [
        get("/"),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".to_owned(),
    ] {
        // The probe, and the connections before, leave the parity to chance: until a first one is odd.
        loop {
            let mut client = Client::new(scene.address()).await;
            assert_eq!(client.ask(get("/first")).await.status(), 200);
            let odd = target.asked().await.connection % 2 == 1;
            let answer = client.ask(&request).await;
            let asked = target.asked().await;
            if odd {
                outcomes.push((answer.status(), target.is_quiet()));
                assert_eq!(asked.first_line().split(' ').next(), request.split(' ').next());
                while !target.is_quiet() {}
                break;
            }
        }
    }
    assert_eq!(outcomes, [(200, false), (502, true), (502, true), (502, true)], "(status, asked once)");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_closed_meanwhile_is_not_even_tried() {
    let mut target = Target::new(|_| Reply::Last(OK.into())).await;
    let (scene, _daemon) = start(&target, "");
    let mut client = Client::new(scene.address()).await;
    for _ in 0..5 {
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(answer.status(), 200);
        target.asked().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_target_is_a_page_with_a_reason_in_the_counters_and_nothing_in_the_log() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"http://{closed}\"\nmode = \"http\""));
    let daemon = scene.start();
    let mut client = Client::new(scene.address()).await;
    let answer = client.ask(get("/secret-path?secret=query")).await;
    let page = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("10")));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(page.contains("cannot be reached") && !page.contains(&closed.to_string()), "{page}");
    assert!(client.is_over().await);
    let status = scene.status_until(|status| status.active == 0).await;
    assert_eq!(status.failed[&FailureReason::TargetUnreachable], 1);
    drop(daemon);
    for client_data in ["secret-path", "secret=query", PUBLIC] {
        assert!(!scene.log().contains(client_data), "{}", scene.log());
    }

    let silent = Target::new(|_| Reply::Silence).await;
    let (scene, _daemon) = start(&silent, "idle_timeout_secs = 1");
    let begin = Instant::now();
    assert_eq!(Client::new(scene.address()).await.ask(get("/")).await.status(), 504);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let nonsense = Target::always("SSH-2.0-OpenSSH\r\n").await;
    let (scene, _daemon) = start(&nonsense, "");
    assert_eq!(Client::new(scene.address()).await.ask(get("/")).await.status(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_is_not_taken_for_a_whole_one() {
    let target = Target::new(|asked| {
        Reply::Last(if asked.first_line().contains("chunked") {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec()
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello".to_vec()
        })
    })
    .await;
    let (scene, _daemon) = start(&target, "");
    for path in ["/chunked", "/length"] {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        stream.write_all(get(path).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await;
        assert!(end.is_err() || !answer.ends_with(b"0\r\n\r\n"), "{path}: {answer:?}");
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{path}");
    }
    let status = scene.status_until(|status| status.active == 0).await;
    assert_eq!(status.failed[&FailureReason::TargetBroke], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_between_requests_ends_in_order_and_a_stuck_one_is_cut() {
    let target = Target::new(|asked| {
        Reply::Send(if asked.first_line().contains("stuck") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello".to_vec()
        } else {
            OK.into()
        })
    })
    .await;
    let (scene, _daemon) = start(&target, "idle_timeout_secs = 1");
    let mut idle = Client::new(scene.address()).await;
    idle.ask(get("/")).await;
    let mut stuck = Client::new(scene.address()).await;
    stuck.send(get("/stuck")).await;
    let begin = Instant::now();
    assert!(idle.is_over().await);
    assert!(stuck.stream().read_to_end(&mut Vec::new()).await.is_err(), "reset, not ended");
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let status = scene.status_until(|status| status.active == 0).await;
    assert_eq!((status.finished, status.failed[&FailureReason::Idle]), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_proxy_says_so_at_once() {
    let target = Target::always(OK).await;
    let (scene, _daemon) = start(&target, "max_connections = 2");
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = Client::new(scene.address()).await;
        client.ask(get("/")).await;
        kept.push(client);
    }
    for _ in 0..10 {
        let begin = Instant::now();
        let mut client = Client::new(scene.address()).await;
        let answer = client.ask(get("/")).await;
        assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("10")));
        assert!(client.is_over().await);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
    assert_eq!(scene.status().await.refused, 10);
    assert_eq!(kept[0].ask(get("/")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_idle_connections_at_once_and_lets_a_request_finish() {
    let target = Target::new(|asked| {
        Reply::Send(asked.header("x-slow").map_or(OK.into(), |_| {
            // In its place, or the clock of the other tasks stands still meanwhile.
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(1)));
            OK.into()
        }))
    })
    .await;
    let (scene, mut daemon) = start(&target, "");
    let mut idle = Client::new(scene.address()).await;
    idle.ask(get("/")).await;
    let mut busy = Client::new(scene.address()).await;
    busy.send(get("/").replace("\r\n\r\n", "\r\nX-Slow: 1\r\n\r\n")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    daemon.signal(Signal::SIGTERM);
    let begin = Instant::now();
    assert!(idle.is_over().await);
    assert!(begin.elapsed() < Duration::from_millis(700), "{:?}", begin.elapsed());
    let answer = busy.receive().await;
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert!(busy.is_over().await);
    assert_eq!(tokio::task::block_in_place(|| daemon.wait(LONG)).unwrap().code(), Some(0), "{}", scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_can_be_changed_while_it_runs() {
    let mut target = Target::always(OK).await;
    let (scene, daemon) = start(&target, "");
    let mut before = Client::new(scene.address()).await;
    before.ask(get("/")).await;
    assert_eq!(target.asked().await.header("host"), Some(target.address.to_string().as_str()));
    scene.configure("trace", crate::supervisor::UNROUTABLE, &target.section().replace("\"http\"", "\"tcp\""));
    scene.reload(&daemon);
    let mut after = Client::new(scene.address()).await;
    after.ask(get("/")).await;
    assert_eq!(target.asked().await.header("host"), Some(PUBLIC));
    before.ask(get("/")).await;
    assert_eq!(target.asked().await.header("host"), Some(target.address.to_string().as_str()), "as it began");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tor_each_client_has_a_circuit_of_its_own_for_all_its_requests() {
    let directory = tempfile::tempdir().unwrap();
    let target = Target::always(OK).await;
    let asked = onion_target(&directory.path().join("a"), target.address);
    let tor = format!("unix:{}", directory.path().join("a").display());
    let scene = Scene::new(&format!(
        "target = \"http://{ADDRESS}\"\nmode = \"http\"\nprobe_interval_secs = 3600\n[tor.a]\ncontrol = \
         \"{tor}.control\"\nsocks = \"{tor}\""
    ));
    let _daemon = scene.start();
    for _ in 0..3 {
        let mut client = Client::new(scene.address()).await;
        for _ in 0..3 {
            assert_eq!(client.ask(get("/")).await.status(), 200);
        }
    }
    // The probe's, and one for each client.
    let isolations: std::collections::BTreeSet<_> = asked.lock().unwrap().iter().cloned().collect();
    assert_eq!((isolations.len(), asked.lock().unwrap().len()), (4, 4));
}

/// A tor that carries everything to one target; tells the isolation of each request.
fn onion_target(
    path: &std::path::Path,
    target: std::net::SocketAddr,
) -> std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>> {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let asked = std::sync::Arc::<std::sync::Mutex<Vec<Vec<u8>>>>::default();
    let seen = std::sync::Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            tokio::spawn(async move {
                let mut some = [0; 512];
                let _ = stream.read(&mut some).await?;
                stream.write_all(&[5, 2]).await?;
                let length = stream.read(&mut some).await?;
                seen.lock().unwrap().push(some[..length].to_vec());
                stream.write_all(&[1, 0]).await?;
                let _ = stream.read(&mut some).await?;
                stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                let mut far = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut far).await
            });
        }
    });
    asked
}

impl Client {
    /// A response that has no body whatever its headers say.
    async fn receive_head_only(&mut self) -> Message {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.stream().read_u8().await.unwrap());
        }
        let head = String::from_utf8(bytes).unwrap().trim_end().to_owned();
        Message { head, body: Vec::new(), trailers: String::new(), connection: 0 }
    }
}
