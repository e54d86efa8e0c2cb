//! Whether the target is well, and cutting what a drained node still carries.

use std::time::{Duration, Instant};

use rustbalance::ipc::proxy::{FailureReason, ProxyClient};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::supervisor::Scene;
use crate::{LONG, echo, ends, ping, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_three_dials_in_a_row_miss_is_not_well_until_one_reaches_it() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"tcp://{closed}\""));
    let _daemon = scene.start();
    let client = ProxyClient::connect(&scene.path().join("proxy.sock")).await.unwrap();
    let mut reports = client.watch().await.unwrap();
    assert!(reports.next().await.unwrap().target_well, "one bad start is no illness");
    let begin = Instant::now();
    for _ in 0..3 {
        refusal(&scene, b"hello").await;
    }
    while timeout(LONG, reports.next()).await.unwrap().unwrap().target_well {}
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());

    // Nobody comes any more, but the proxy looks.
    let _listener = TcpListener::bind(closed).await.unwrap();
    let begin = Instant::now();
    while !timeout(LONG, reports.next()).await.unwrap().unwrap().target_well {}
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let log = scene.log();
    for said in ["the target is not well", "the target is well again"] {
        assert_eq!(log.matches(said).count(), 1, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_client_the_proxy_finds_out_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scene = Scene::new(&format!("target = \"tcp://{address}\"\nprobe_interval_secs = 1"));
    let _daemon = scene.start();
    let begin = Instant::now();
    for _ in 0..3 {
        timeout(LONG, listener.accept()).await.unwrap().unwrap();
    }
    assert!(begin.elapsed() > Duration::from_secs(1), "{:?}", begin.elapsed());
    drop(listener);
    let status = scene.status_until(|status| !status.target_well).await;
    assert_eq!((status.accepted, status.failed.len()), (0, 0), "a probe is no client");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_carried_is_cut_on_demand_and_what_comes_later_is_not() {
    let scene = Scene::new(&echo().await);
    let _daemon = scene.start();
    let mut carried = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        ping(&mut stream).await;
        carried.push(stream);
    }
    let mut client = ProxyClient::connect(&scene.path().join("proxy.sock")).await.unwrap();
    client.finish().await.unwrap();
    for stream in &mut carried {
        assert!(ends(stream, LONG).await);
    }
    let status = scene.status_until(|status| status.active == 0).await;
    assert_eq!(status.failed[&FailureReason::CutByStop], 10);
    let mut later = TcpStream::connect(scene.address()).await.unwrap();
    ping(&mut later).await;
    sleep(Duration::from_millis(300)).await;
    ping(&mut later).await;
}
