//! Targets that speak TLS: good and bad certificates, and what is heard inside.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustbalance::ipc::proxy::{FailureReason, Validity};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::peer::{Client, Message, Silent, read_message};
use crate::streaming::peak_kib;
use crate::supervisor::{Scene, UNROUTABLE};
use crate::{ADDRESS, LONG, Tor, ping, tor, tors};

/// Of the key of `server.pem` and `expired.pem`.
const PIN: &str = "sha256/5r/ApdUADkdeO/GQaY+pp+MDR1LHdd6dLpZTvs3orEw=";
/// How long `server.pem` is valid, as `openssl x509 -dates` tells it.
const SERVER: Validity = Validity { from: 1_795_727_408, until: 4_949_327_408 };
const OTHER_PIN: &str = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn file(name: &str) -> String {
    format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Presents a certificate, whether the key is its own or not.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(file(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(key)).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let presents = Presents(Arc::new(CertifiedKey::new(chain, key)));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_no_client_auth().with_cert_resolver(Arc::new(presents));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A target behind TLS that redirects to itself, and tells what it was asked and which protocol was agreed on.
async fn server(certificate: &str, key: &str) -> (SocketAddr, mpsc::UnboundedReceiver<(Message, Vec<u8>)>) {
    let acceptor = acceptor(certificate, key);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.ok()?;
                let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
                let mut stream = BufReader::new(stream);
                while let Some(message) = read_message(&mut stream, Silent::Empty).await {
                    let own = message.header("host").unwrap().to_owned();
                    let _ = tell.send((message, protocol.clone()));
                    let host = own.split(':').next().unwrap();
                    let head = format!("HTTP/1.1 302 Found\r\nLocation: https://{own}/there\r\n");
                    let cookie =
                        format!("Set-Cookie: a=b; Secure; Domain={host}\r\nContent-Length: 2\r\n\r\nok");
                    stream.write_all((head + &cookie).as_bytes()).await.ok()?;
                    stream.flush().await.ok()?;
                }
                Some(())
            });
        }
    });
    (address, asked)
}

/// What a client gets who asks over the proxy.
async fn ask(scene: &Scene) -> Message {
    Client::new(scene.address()).await.ask("GET /x HTTP/1.1\r\nHost: x.onion\r\n\r\n").await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_judged_as_it_is_said() {
    use FailureReason::CertificateRefused as Refused;
    let roots = format!("verify = \"webpki\"\nroots = \"{}\"", file("root.pem"));
    let pin = |pin: &str| format!("verify = \"spki-pin\"\npins = [\"{OTHER_PIN}\", \"{pin}\"]");
    let (shop, server_key) = ("host = \"www.shop.example\"", "server.key");
    for (verify, host, certificate, key, expected) in [
        (roots.clone(), shop, "server.pem", server_key, None),
        (roots.clone(), "", "server.pem", server_key, None),
        (roots.clone(), "host = \"shop.example\"", "server.pem", server_key, Some(Refused)),
        (roots.clone(), shop, "expired.pem", server_key, Some(Refused)),
        (roots.clone(), shop, "stranger.pem", "stranger.key", Some(Refused)),
        (roots, shop, "server.pem", "stranger.key", Some(Refused)),
        (pin(PIN), shop, "server.pem", server_key, None),
        (pin(PIN), "host = \"any.example\"", "expired.pem", server_key, None),
        (pin(OTHER_PIN), shop, "server.pem", server_key, Some(Refused)),
        (pin(PIN), shop, "stranger.pem", "stranger.key", Some(Refused)),
        // The pinned certificate is no secret: who presents it must have its key.
        (pin(PIN), shop, "server.pem", "stranger.key", Some(Refused)),
    ] {
        let (address, mut asked) = server(certificate, key).await;
        let case = format!("target = \"https://{address}\"\nmode = \"http\"\n{verify}\n{host}\n");
        let scene = Scene::new(&case);
        let _daemon = scene.start();
        let answer = ask(&scene).await;
        let status = scene.status_until(|status| status.active == 0 || expected.is_none()).await;
        match expected {
            None => {
                assert_eq!(answer.status(), 302, "{case}\n{}", scene.log());
                assert_eq!(answer.header("location"), Some("http://x.onion/there"), "{case}");
                assert_eq!(answer.header("set-cookie"), Some("a=b; Domain=x.onion"), "{case}");
                assert_eq!(asked.recv().await.unwrap().1, b"http/1.1", "{case}");
                let known = verify.contains("webpki").then_some(SERVER);
                scene.status_until(|status| status.targets[0].certificate == known).await;
            }
            Some(reason) => {
                assert_eq!(answer.status(), 503, "{case}\n{}", scene.log());
                assert_eq!(status.failed.get(&reason), Some(&1), "{case}\n{status:?}");
                assert!(asked.try_recv().is_err(), "{case}: something was said");
                assert_eq!(status.targets[0].certificate, None, "{case}: it was refused");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_onion_target_can_vouch_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (address, mut asked) = server("stranger.pem", "stranger.key").await;
    let mut requests = tor(&directory.path().join("a"), Tor::LeadsTo(address));
    let scene = Scene::new(&format!(
        "target = \"https://{ADDRESS}\"\nmode = \"http\"\nverify = \"onion\"\n{}",
        tors(directory.path())
    ));
    let _daemon = scene.start();
    let answer = ask(&scene).await;
    assert_eq!((answer.status(), answer.header("location")), (302, Some("http://x.onion/there")));
    assert_eq!(asked.recv().await.unwrap().0.header("host"), Some(ADDRESS));
    let (_, _, host, port) = requests.recv().await.unwrap();
    assert_eq!((host.as_str(), port), (ADDRESS, 443));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_speak_tls_or_hangs_in_it_is_not_reached() {
    let talks = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, hanging) = (talks.local_addr().unwrap(), silent.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = talks.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for (address, status, reason) in
        [(address, 503, FailureReason::TlsFailed), (hanging, 504, FailureReason::ConnectTimedOut)]
    {
        let scene = Scene::new(&format!(
            "target = \"https://{address}\"\nmode = \"http\"\nverify = \"spki-pin\"\npins = [\"{PIN}\"]\n\
             connect_timeout_secs = 1"
        ));
        let _daemon = scene.start();
        let begin = Instant::now();
        assert_eq!(ask(&scene).await.status(), status, "{}", scene.log());
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        let status = scene.status_until(|status| status.active == 0).await;
        assert_eq!(status.failed.get(&reason), Some(&1), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_carried_in_tls_too() {
    let acceptor = acceptor("server.pem", "server.key");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(acceptor.accept(stream).await?);
                tokio::io::copy(&mut read, &mut write).await?;
                write.shutdown().await
            });
        }
    });
    let scene = Scene::new(&format!(
        "target = \"https://{address}\"\nverify = \"webpki\"\nroots = \"{}\"\nhost = \"www.shop.example\"",
        file("root.pem")
    ));
    let _daemon = scene.start();
    let mut client = TcpStream::connect(scene.address()).await.unwrap();
    ping(&mut client).await;
    // More than any buffer on the way, and then its end.
    let much = vec![7; 5_000_000];
    let (mut read, mut write) = client.split();
    let sent = async {
        write.write_all(&much).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let both = async { tokio::join!(sent, tokio::io::AsyncReadExt::read_to_end(&mut read, &mut heard)) };
    tokio::time::timeout(LONG, both).await.unwrap().1.unwrap();
    assert!(heard == much);
    scene.status_until(|status| status.finished == 1 && status.failed.is_empty()).await;
}

/// A quarter of the uploads for which there are places by default. The kernel holds megabytes for each on loopback.
const STALLED: u64 = 256;
/// What one may take of the proxy's memory, built for debugging: with 1024 of them it is below what the unit allows
/// (`MemoryMax=256M`).
const EACH_KIB: u64 = 224;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_stalled_uploads_fit_into_the_memory_of_the_unit() {
    let acceptor = acceptor("server.pem", "server.key");
    // Small buffers in the kernel: what does not fit there shows where it is held.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1024).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(tokio::spawn(acceptor.accept(stream)));
        }
    });
    let scene = Scene::new("target = \"unix:/nowhere\"");
    let section = format!(
        "target = \"https://{address}\"\nmode = \"http\"\nverify = \"spki-pin\"\npins = [\"{PIN}\"]\n\
         max_connections = {STALLED}"
    );
    scene.configure("info", UNROUTABLE, &section);
    let daemon = scene.start();
    let before = peak_kib(&daemon);
    let mut clients = Vec::new();
    for _ in 0..STALLED {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        let mut client = socket.connect(scene.address()).await.unwrap();
        clients.push(tokio::spawn(async move {
            let head = "POST / HTTP/1.1\r\nHost: x.onion\r\nContent-Length: 100000000\r\n\r\n";
            client.write_all(head.as_bytes()).await?;
            client.write_all(&vec![7; 32 * 1024 * 1024]).await
        }));
    }
    scene.status_until(|status| status.targets[0].connections == u32::try_from(STALLED).unwrap()).await;
    // Nothing moves any more.
    let mut sent = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = scene.status().await.bytes_to_target;
        if std::mem::replace(&mut sent, now) == now {
            break;
        }
    }
    assert!(clients.iter().all(|client| !client.is_finished()), "one was taken whole");
    let (peak, limit) = (peak_kib(&daemon), before + STALLED * EACH_KIB);
    println!("{STALLED} stalled uploads over TLS: from {before} to {peak} KiB, {sent} bytes to the target");
    assert!(peak < limit, "{peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_that_cannot_be_used_are_a_mistake_in_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (path, complaint) in
        [(empty.as_path(), "it holds no certificate"), (Path::new("/nonexistent/roots.pem"), "No such file")]
    {
        let scene = Scene::new(&format!(
            "target = \"https://127.0.0.1\"\nverify = \"webpki\"\nroots = \"{}\"",
            path.display()
        ));
        let output = scene.command().stderr(std::process::Stdio::piped()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert!(error.contains("proxy.roots: ") && error.contains(complaint), "{error}");
    }
}
