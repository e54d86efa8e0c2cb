//! A control port that follows a script instead of the protocol.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use rustbalance::tor::address::{ControlAuth, SocketAddress};
use rustbalance::tor::controller::{ControlLimits, Controller};
use rustbalance::tor::error::ControlError;
use rustbalance::tor::event::TorEvent;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No step of a test takes longer unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Limits that make a silent peer quick to test, and still let a busy machine greet in time.
pub(crate) const QUICK: ControlLimits = ControlLimits {
    connect: Duration::from_secs(5),
    command: Duration::from_secs(1),
    document: Duration::from_secs(2),
    events: 4,
};

/// Limits under which a command never times out in a test.
pub(crate) const PATIENT: ControlLimits =
    ControlLimits { connect: PATIENCE, command: PATIENCE, document: PATIENCE, events: 4 };

/// The peer's end of one connection.
pub(crate) struct Peer(BufReader<TcpStream>);

impl Peer {
    /// The next line without its end; `None` when the client has closed.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("the client sends a line") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches("\r\n").to_owned()),
        }
    }

    /// Sends bytes as they are. Whether the client takes them is its affair.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.get_mut().write_all(bytes.as_ref()).await;
    }

    /// Waits for a line and answers.
    pub(crate) async fn answer(&mut self, expected: &str, bytes: impl AsRef<[u8]>) {
        assert_eq!(self.line().await.as_deref(), Some(expected));
        self.send(bytes).await;
    }

    /// The handshake of a tor that wants no authentication.
    pub(crate) async fn welcome(&mut self) {
        self.offer("METHODS=NULL").await;
        self.answer("AUTHENTICATE", "250 OK\r\n").await;
    }

    /// Answers `PROTOCOLINFO`.
    pub(crate) async fn offer(&mut self, auth: &str) {
        let reply =
            format!("250-PROTOCOLINFO 1\r\n250-AUTH {auth}\r\n250-VERSION Tor=\"0.4.9.11\"\r\n250 OK\r\n");
        self.answer("PROTOCOLINFO 1", reply).await;
    }

    /// Stays until the client has closed.
    pub(crate) async fn stay(&mut self) {
        while self.line().await.is_some() {}
    }
}

/// Starts a peer for one connection.
pub(crate) async fn start<F, S>(script: S) -> (SocketAddress, JoinHandle<()>)
where
    S: FnOnce(Peer) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = SocketAddress::Tcp(listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Peer(BufReader::new(stream))).await;
    });
    (address, task)
}

/// Connects to a peer that greets with [`Peer::welcome`] and then follows the script.
pub(crate) async fn connect<F, S>(
    limits: ControlLimits,
    script: S,
) -> (Controller, mpsc::Receiver<TorEvent>, JoinHandle<()>)
where
    S: FnOnce(Peer) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (address, task) = start(async move |mut peer: Peer| {
        peer.welcome().await;
        script(peer).await;
    })
    .await;
    let (controller, events) = Controller::connect_with(&address, &ControlAuth::Auto, limits).await.unwrap();
    (controller, events, task)
}

/// Tries to connect; for peers that spoil the handshake.
pub(crate) async fn refused(address: &SocketAddress, auth: &ControlAuth) -> ControlError {
    let connecting = timeout(PATIENCE, Controller::connect_with(address, auth, QUICK));
    connecting.await.expect("the handshake ends").expect_err("the handshake fails")
}

/// Waits for an event.
pub(crate) async fn event(events: &mut mpsc::Receiver<TorEvent>) -> TorEvent {
    timeout(PATIENCE, events.recv()).await.expect("an event comes").expect("the queue is open")
}

/// The `AUTH` line of a tor with a cookie file.
pub(crate) fn cookie_offer(methods: &str, path: &Path) -> String {
    format!("METHODS={methods} COOKIEFILE=\"{}\"", path.display())
}
