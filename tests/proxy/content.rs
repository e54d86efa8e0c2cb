//! HTTP mode with `rewrite_content`: pages and styles whose URLs are exchanged on their way, packed and not.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rustbalance::ipc::proxy::FailureReason;
use rustbalance::proxy::http::rewritten::PLACES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::LONG;
use crate::peer::{Client, Message, Reply, Silent, Target, read_message};
use crate::streaming::{GROWTH_KIB, peak_kib, read_message_head, target};
use crate::supervisor::{Daemon, Scene};

/// What clients call the onion service.
const PUBLIC: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
/// What the target calls itself.
const TARGET: &str = "shop.example";

fn start(target: &Target) -> (Scene, Daemon) {
    let scene = Scene::new(&format!("{}\nhost = \"{TARGET}\"\nrewrite_content = true", target.section()));
    let daemon = scene.start();
    (scene, daemon)
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {PUBLIC}\r\n{headers}\r\n")
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

fn response(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A page with a thousand links to itself, and what a client has to get.
fn page() -> (String, String) {
    let of = |name: &str| {
        let links = format!("<p>text <a href=\"{name}/a?b\">a</a>\n").repeat(1000);
        format!(
            "<!doctype html><style>@import url({name}/a.css);</style>{links}<script>'https://{TARGET}'</script>"
        )
    };
    (of(&format!("https://{TARGET}")), of(&format!("http://{PUBLIC}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_styles_name_the_onion_service_and_the_rest_passes() {
    let mut target = Target::new(|asked| {
        let (page, _) = page();
        let sheet = format!("a{{background:url(//{TARGET}/b.png)}}");
        let html =
            "Content-Type: text/html; charset=utf-8\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nDigest: x\r\n";
        Reply::Send(match asked.first_line().split(' ').nth(1).unwrap() {
            "/plain" => response(html, page.as_bytes()),
            "/gzip" => response(&format!("{html}Content-Encoding: gzip\r\n"), &packed(page.as_bytes())),
            "/br" => response(&format!("{html}Content-Encoding: br\r\n"), page.as_bytes()),
            "/kept" => response(&format!("{html}Cache-Control: no-transform\r\n"), page.as_bytes()),
            "/css" => response("Content-Type: text/css\r\n", sheet.as_bytes()),
            "/js" => response("Content-Type: text/javascript\r\n", page.as_bytes()),
            "/empty" => response(html, b""),
            path => panic!("{path}"),
        })
    })
    .await;
    let (scene, _daemon) = start(&target);
    let mut client = Client::new(scene.address()).await;
    let (original, changed) = page();
    for (path, coding, body) in [
        ("/plain", None, changed.as_str()),
        ("/gzip", Some("gzip"), &changed),
        ("/br", Some("br"), &original),
        ("/kept", None, &original),
        ("/css", None, &format!("a{{background:url(//{PUBLIC}/b.png)}}")),
        ("/js", None, &original),
        ("/empty", None, ""),
    ] {
        let answer = client.ask(get(path, "Accept-Encoding: br, gzip, zstd\r\n")).await;
        assert_eq!((answer.status(), answer.header("content-encoding")), (200, coding), "{path}");
        let text = if coding == Some("gzip") {
            unpacked(&answer.body)
        } else {
            String::from_utf8(answer.body.clone()).unwrap()
        };
        assert!(text == body, "{path}: {text}");
        let whole = ["/br", "/kept"].contains(&path);
        if answer.header("etag").is_some() {
            assert_eq!(answer.header("etag"), Some(if whole { "\"1\"" } else { "W/\"1\"" }), "{path}");
            assert_eq!(answer.header("digest").is_some(), whole, "{path}");
            assert_eq!(answer.header("accept-ranges").is_some(), whole, "{path}");
        }
        assert_eq!(target.asked().await.header("accept-encoding"), Some("gzip"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_nothing_is_looked_through() {
    let mut target =
        Target::new(|_| Reply::Send(response("Content-Type: text/html\r\n", page().0.as_bytes()))).await;
    let scene = Scene::new(&format!("{}\nhost = \"{TARGET}\"", target.section()));
    let _daemon = scene.start();
    let answer = Client::new(scene.address()).await.ask(get("/", "Accept-Encoding: br\r\n")).await;
    assert!(answer.body == page().0.as_bytes());
    assert!(answer.header("content-length").is_some());
    assert_eq!(target.asked().await.header("accept-encoding"), Some("br"));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_answers_that_nothing_changed_fit_to_the_pages() {
    let target = Target::new(|asked| {
        let head = "Content-Type: text/html\r\nETag: \"1\"\r\n";
        Reply::Send(if asked.first_line().starts_with("HEAD") {
            format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 9\r\n\r\n").into_bytes()
        } else {
            assert_eq!(asked.header("if-none-match"), Some("W/\"1\""));
            b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_vec()
        })
    })
    .await;
    let (scene, _daemon) = start(&target);
    let mut client = Client::new(scene.address()).await;
    client.send(get("/", "").replace("GET", "HEAD")).await;
    let head = read_message_head(client.stream()).await.unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("etag: w/\"1\"") && !head.contains("content-length"), "{head}");
    client.send(get("/", "If-None-Match: W/\"1\"\r\n")).await;
    let answer = client.receive_as(Silent::Empty).await;
    assert_eq!((answer.status(), answer.header("etag")), (304, Some("W/\"1\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_page_is_the_whole_page_and_a_part_of_a_film_a_part() {
    let mut target = Target::new(|asked| {
        let kind = if asked.first_line().contains("film") { "video/mp4" } else { "text/html" };
        let body = format!("<a href=\"https://{TARGET}/\">");
        Reply::Send(match asked.header("range") {
            Some(_) => format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Type: {kind}\r\nContent-Range: bytes 9-13/27\r\nContent-Length: \
                 5\r\n\r\n{}",
                &body[9..14]
            )
            .into_bytes(),
            None => response(&format!("Content-Type: {kind}\r\n"), body.as_bytes()),
        })
    })
    .await;
    let (scene, _daemon) = start(&target);
    let mut client = Client::new(scene.address()).await;
    let range = "Range: bytes=9-13\r\nIf-Range: \"1\"\r\n";
    let answer = client.ask(get("/page", range)).await;
    assert_eq!((answer.status(), answer.header("content-range")), (200, None));
    assert_eq!(answer.body, format!("<a href=\"http://{PUBLIC}/\">").as_bytes());
    let asked = target.all_asked();
    assert_eq!(asked.iter().map(|asked| asked.header("range").is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(asked[1].header("if-range"), None);
    let answer = client.ask(get("/film", range)).await;
    assert_eq!((answer.status(), &answer.body[..]), (206, &b"https"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_come_behind_what_was_changed() {
    let target = Target::new(|_| {
        let body = format!("<a href=\"//{TARGET}\">");
        let chunk = format!("{:x}\r\n{body}\r\n0\r\nX-Next: https://{TARGET}/2\r\nDigest: x\r\n\r\n", body.len());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTrailer: X-Next\r\nTransfer-Encoding: chunked\r\n\r\n";
        Reply::Send([head, &chunk].concat().into_bytes())
    })
    .await;
    let (scene, _daemon) = start(&target);
    let answer = Client::new(scene.address()).await.ask(get("/", "TE: trailers\r\n")).await;
    assert_eq!(answer.body, format!("<a href=\"//{PUBLIC}\">").as_bytes());
    assert_eq!(answer.trailers, format!("x-next: http://{PUBLIC}/2\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unpacked_is_a_cut_connection_and_no_shorter_page() {
    let target = Target::new(|asked| {
        let mut body = packed(page().0.as_bytes());
        let middle = body.len() / 2;
        match asked.first_line() {
            line if line.contains("broken") => body[middle] ^= 0xff,
            line if line.contains("short") => body.truncate(middle),
            _ => body = b"no gzip".to_vec(),
        }
        Reply::Send(response("Content-Type: text/html\r\nContent-Encoding: gzip\r\n", &body))
    })
    .await;
    let (scene, _daemon) = start(&target);
    for path in ["/broken", "/short", "/none"] {
        let mut client = Client::new(scene.address()).await;
        client.send(get(path, "Accept-Encoding: gzip\r\n")).await;
        let mut answer = Vec::new();
        let end = timeout(LONG, client.stream().read_to_end(&mut answer)).await.unwrap();
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{path}");
        assert!(end.is_err(), "{path}: reset, not ended");
    }
    let status = scene.status_until(|status| status.active == 0).await;
    assert_eq!(status.failed[&FailureReason::TargetBroke], 3);
}

/// Bytes of a long page.
const LONG_PAGE: usize = 200 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_page_streams_packed_and_is_never_held() {
    let text = "text ".repeat(200);
    let piece = format!("<p class=x>{text}</p><a href=\"https://{TARGET}/a\">").repeat(1000);
    let (count, length) = (LONG_PAGE / piece.len(), piece.len());
    let section = target(move |mut stream| {
        let piece = piece.clone();
        async move {
            read_message_head(&mut stream).await?;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n";
            stream.write_all(head.as_bytes()).await.ok()?;
            // Members, one behind the other, are one body.
            let member = packed(piece.as_bytes());
            for _ in 0..count {
                stream.write_all(&member).await.ok()?;
            }
            Some(())
        }
    })
    .await;
    let section = format!("{section}\nhost = \"{TARGET}\"\nrewrite_content = true");
    let scene = Scene::new(&section);
    scene.configure("info", crate::supervisor::UNROUTABLE, &section);
    let daemon = scene.start();
    let before = peak_kib(&daemon);
    let began = std::time::Instant::now();
    let mut client = Client::new(scene.address()).await;
    client.send(get("/", "Accept-Encoding: gzip\r\n")).await;
    let whole: Message = read_message(client.stream(), Silent::Close).await.unwrap();
    let grown = peak_kib(&daemon) - before;
    let mut text = MultiGzDecoder::new(&whole.body[..]);
    let mut first = vec![0; length];
    text.read_exact(&mut first).unwrap();
    let first = String::from_utf8(first).unwrap();
    assert!(first.contains(&format!("<a href=\"http://{PUBLIC}/a\">")) && !first.contains(TARGET));
    let rest = std::io::copy(&mut text, &mut std::io::sink()).unwrap();
    let links = count * 1000;
    let expected = count * length + links * (PUBLIC.len() - TARGET.len()) - links;
    assert_eq!(usize::try_from(rest).unwrap() + length, expected);
    println!(
        "{} bytes of a page looked through in {:?}, {grown} KiB more memory",
        count * length,
        began.elapsed()
    );
    assert!(grown < GROWTH_KIB, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_a_page_arrive_one_by_one() {
    for packing in [false, true] {
        let section = target(move |mut stream| async move {
            read_message_head(&mut stream).await?;
            let coding = if packing { "Content-Encoding: gzip\r\n" } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{coding}\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            for piece in 0..3 {
                let text = format!("<a href=\"https://{TARGET}/{piece}\">");
                let bytes = if packing { packed(text.as_bytes()) } else { text.into_bytes() };
                stream.write_all(&bytes).await.ok()?;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Some(())
        })
        .await;
        let scene = Scene::new(&format!("{section}\nhost = \"{TARGET}\"\nrewrite_content = true"));
        let _daemon = scene.start();
        let mut client = Client::new(scene.address()).await;
        client.send(get("/", "Accept-Encoding: gzip\r\n")).await;
        read_message_head(client.stream()).await.unwrap();
        let begin = std::time::Instant::now();
        let mut some = vec![0; 4096];
        let read = timeout(Duration::from_millis(1500), client.stream().read(&mut some)).await;
        assert!(read.unwrap().unwrap() > 30, "{packing}: at once");
        assert!(begin.elapsed() < Duration::from_millis(1500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_bodies_at_once_and_no_more_take_bounded_memory() {
    /// Of 256 MiB for the whole service.
    const ALL_KIB: u64 = 128 * 1024;
    // A tag that does not end, after a page that packs badly.
    let words = (0..20_000_u32).map(|number| format!("{:x} ", number.wrapping_mul(2_654_435_761)));
    let page = words.collect::<Vec<_>>().concat();
    let body = packed(format!("{page}<img src=\"{}", "x".repeat(200 * 1024)).as_bytes());
    let section = target(move |mut stream| {
        let body = body[..body.len() - 8].to_vec();
        async move {
            read_message_head(&mut stream).await?;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n";
            stream.write_all(&[head.as_bytes(), &body].concat()).await.ok()?;
            tokio::time::sleep(LONG).await;
            Some(())
        }
    })
    .await;
    let section = format!("{section}\nhost = \"{TARGET}\"\nrewrite_content = true");
    let scene = Scene::new(&section);
    scene.configure("info", crate::supervisor::UNROUTABLE, &section);
    let daemon = scene.start();
    let before = peak_kib(&daemon);
    let mut clients = Vec::new();
    for _ in 0..PLACES {
        let mut client = Client::new(scene.address()).await;
        client.send(get("/", "Accept-Encoding: gzip\r\n")).await;
        let head = read_message_head(client.stream()).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        clients.push(client);
    }
    for client in &mut clients {
        // It has come to the tag when all before it is there.
        let mut some = vec![0; 40_000];
        timeout(LONG, client.stream().read_exact(&mut some)).await.unwrap().unwrap();
    }
    let mut over = Client::new(scene.address()).await;
    assert_eq!(over.ask(get("/", "")).await.status(), 503);
    let grown = peak_kib(&daemon) - before;
    println!("{PLACES} bodies at once: {grown} KiB more memory");
    assert!(grown < ALL_KIB, "{grown} KiB");
    clients.pop();
    loop {
        let mut next = Client::new(scene.address()).await;
        next.send(get("/", "")).await;
        if read_message_head(next.stream()).await.unwrap().starts_with("HTTP/1.1 200") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
