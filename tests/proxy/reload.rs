//! SIGHUP: what is taken over at once, what waits for the next start, and what is refused.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::Client;
use crate::supervisor::{Scene, UNROUTABLE};
use crate::{LONG, echo, ends, ping, refusal};

/// A target that says its name to whoever comes, and then sends back what it gets.
async fn named(name: u8) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("target = \"tcp://{}\"", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_u8(name).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    target
}

/// A connection through the proxy, and the name of the target it leads to.
async fn connect(scene: &Scene) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    let name = tokio::time::timeout(LONG, stream.read_u8()).await.unwrap().unwrap();
    (stream, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_meet_the_new_configuration_and_old_ones_go_on() {
    let (first, second) = (named(b'1').await, named(b'2').await);
    let scene = Scene::new(&first);
    let daemon = scene.start();
    let (mut old, name) = connect(&scene).await;
    assert_eq!(name, b'1');

    scene.configure("trace", "203.0.113.2:80", &format!("{second}\nmax_connections = 2"));
    scene.reload(&daemon);
    let (mut new, name) = connect(&scene).await;
    assert_eq!(name, b'2');
    ping(&mut old).await;
    ping(&mut new).await;
    assert_eq!(refusal(&scene, b"hello").await, std::io::ErrorKind::ConnectionReset);
    let status = scene.status().await;
    assert_eq!((status.active, status.refused), (2, 1));
    assert!(second.contains(&status.target), "{status:?}");
    let log = scene.log();
    assert!(log.contains("taken over: proxy.max_connections, proxy.target"), "{log}");
    assert!(log.contains("started again: proxy.listen\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_with_its_line_and_the_old_one_stays() {
    let (first, second) = (named(b'1').await, named(b'2').await);
    let scene = Scene::new(&first);
    let daemon = scene.start();
    for (bad, complaint) in [
        (
            format!("{second}\nidle_timeout_secs = 0"),
            "config.toml:9: proxy.idle_timeout_secs: 0 is out of range",
        ),
        ("target = \"tcp://localhost:80\"".to_owned(), "config.toml:8: proxy.target: "),
        (
            "target = \"http://pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion\"".to_owned(),
            "section [tor] is missing",
        ),
        (format!("{second}\n[nonsense]"), "unknown field `nonsense`"),
    ] {
        scene.configure("off", UNROUTABLE, &bad);
        scene.reload(&daemon);
        let log = scene.log();
        assert!(
            log.contains("the one from before stays in force") && log.contains(complaint),
            "{complaint}: {log}"
        );
        assert_eq!(connect(&scene).await.1, b'1');
    }
    std::fs::remove_file(scene.path().join("config.toml")).unwrap();
    scene.reload(&daemon);
    assert!(scene.log().contains("cannot read the configuration"), "{}", scene.log());
    assert_eq!(connect(&scene).await.1, b'1');

    scene.configure("error", UNROUTABLE, &second);
    scene.reload(&daemon);
    assert_eq!(connect(&scene).await.1, b'2');
    // Quiet from now on: what is taken over is told at the new level.
    let before = scene.log();
    scene.configure("error", UNROUTABLE, &first);
    scene.reload(&daemon);
    assert_eq!(connect(&scene).await.1, b'1');
    assert_eq!(scene.log(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_target_stays_known_and_another_one_counts_as_well() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ill = format!("target = \"tcp://{closed}\"");
    let scene = Scene::new(&ill);
    let daemon = scene.start();
    for _ in 0..3 {
        refusal(&scene, b"hello").await;
    }
    scene.status_until(|status| !status.target_well).await;
    scene.configure("trace", UNROUTABLE, &format!("{ill}\nidle_timeout_secs = 30"));
    scene.reload(&daemon);
    assert!(!scene.status().await.target_well);
    scene.configure("trace", UNROUTABLE, &echo().await);
    scene.reload(&daemon);
    assert!(scene.status().await.target_well);
    ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_for_finishing_is_that_of_the_last_configuration() {
    let target = echo().await;
    let scene = Scene::new(&format!("{target}\ndrain_timeout_secs = 3600"));
    let mut daemon = scene.start();
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    ping(&mut stream).await;
    scene.configure("trace", UNROUTABLE, &format!("{target}\ndrain_timeout_secs = 0.5"));
    scene.reload(&daemon);
    let begin = Instant::now();
    daemon.signal(Signal::SIGTERM);
    assert!(ends(&mut stream, LONG).await);
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    assert_eq!(daemon.wait(LONG).unwrap().code(), Some(0), "{}", scene.log());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_again_where_they_were_at_the_start_and_elsewhere_after_another_start() {
    let (pages, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (page, other) = (pages.path().join("page.html"), elsewhere.path().join("page.html"));
    // The name may lead elsewhere, too.
    let (real, link) = (elsewhere.path().join("real"), pages.path().join("link.html"));
    std::fs::create_dir(&real).unwrap();
    std::fs::write(real.join("page.html"), "linked").unwrap();
    std::os::unix::fs::symlink(real.join("page.html"), &link).unwrap();
    let section = |page: &std::path::Path| {
        format!("target = \"http://{closed}\"\nmode = \"http\"\nerror_page = \"{}\"", page.display())
    };
    let shown = async |scene: &Scene| {
        let answer = Client::new(scene.address()).await.ask("GET / HTTP/1.1\r\nHost: x.onion\r\n\r\n").await;
        String::from_utf8(answer.body).unwrap()
    };
    for (named, file) in [(&page, page.clone()), (&link, real.join("page.html"))] {
        std::fs::write(&file, "first").unwrap();
        let scene = Scene::new(&section(named));
        let daemon = scene.start();
        assert_eq!(shown(&scene).await, "first");
        // As editors do it: another file in the place of the first one.
        let new = file.with_extension("new");
        std::fs::write(&new, "second").unwrap();
        std::fs::rename(&new, &file).unwrap();
        scene.reload(&daemon);
        assert_eq!(shown(&scene).await, "second", "{}", scene.log());
    }

    std::fs::write(&other, "other").unwrap();
    let scene = Scene::new(&section(&page));
    let daemon = scene.start();
    scene.configure("trace", UNROUTABLE, &section(&other));
    scene.reload(&daemon);
    let log = scene.log();
    if log.contains("landlock") {
        assert_eq!(shown(&scene).await, "other", "nothing is confined here");
    } else {
        let complaint = format!("config.toml:10: proxy.error_page: {} cannot be read", other.display());
        assert!(log.contains(&complaint) && log.contains("start it again"), "{log}");
        assert_eq!(shown(&scene).await, "second");
    }
    drop(daemon);
    let _daemon = scene.start();
    assert_eq!(shown(&scene).await, "other");
}
