//! The main loop: select an event, let the core handle it, perform its actions.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::address_book::AddressBook;
use super::canary::CanaryLine;
use super::clocks::Clocks;
use super::door::Door;
use super::link::News;
use super::proxy_link;
use super::publisher_link::{self, Wanted};
use super::reload::Reload;
use super::tunnel::Wish;
use crate::ipc::coordinator::{CoordinatorCall, MeshStatus, TunnelStatus};
use crate::ipc::proxy::ProxyStatus;
use crate::mesh::keyring::Keyring;
use crate::mesh::open::OpenError;
use crate::mesh::seal::SessionSalt;
use crate::mesh::socket::{MeshSocket, Received};
use crate::proto::cluster::core::Cluster;
use crate::proto::cluster::events::{Action, Event};
use crate::proto::cluster::memory::Memory;
use crate::proto::cluster::note::Rotation;
use crate::proto::cluster::token::TokenName;
use crate::proto::node::NodeId;
use crate::proto::publish::report::PublisherReport;
use crate::sys::clock::unix_ms;
use crate::sys::notify::{Keepalive, Notice, notify};
use crate::sys::stop::{Hangup, Stop, until};

/// Datagrams handled before a timer that is due: what has arrived must count before silence is judged, but a flood
/// must not stop the clock. Fifty nodes send fewer within a round.
const DATAGRAMS_FIRST: usize = 256;
/// Pause after the socket failed: trying again at once would only burn the processor.
const SOCKET_PAUSE: Duration = Duration::from_millis(50);
/// How often the line in `systemctl status` is renewed, and the canary hears of the descriptor.
const STATUS_EVERY: Duration = Duration::from_secs(2);
/// How long goodbyes may take to leave the tunnel: WireGuard encrypts and sends behind our back, and removing the
/// interface drops what it has not sent.
const GOODBYE: Duration = Duration::from_millis(200);
/// How long the publisher may take for the last order, and the tunnel for its removal.
const FAREWELL: Duration = Duration::from_secs(3);

/// The lines to the rest of the process and of the node.
pub struct Lines {
    /// Sealed datagrams to and from the peers.
    pub socket: MeshSocket,
    /// Wishes for the tunnel's task.
    pub wishes: mpsc::Sender<Wish>,
    /// What the tunnel knows of its peers.
    pub tunnels: watch::Receiver<Vec<TunnelStatus>>,
    /// News of the publisher.
    pub publisher: mpsc::Receiver<News<PublisherReport>>,
    /// What the publisher is to do.
    pub wanted: watch::Sender<Wanted>,
    /// News of the proxy.
    pub proxy: mpsc::Receiver<News<ProxyStatus>>,
    /// Where the proxy can be told to cut what it carries.
    pub proxy_socket: PathBuf,
    /// What is to be kept over a restart.
    pub memories: watch::Sender<Option<Memory>>,
    /// Calls from the control socket.
    pub calls: mpsc::Receiver<CoordinatorCall>,
    /// The canary, if there is one.
    pub canary: Option<CanaryLine>,
}

/// Facts about the tunnel that do not change.
#[derive(Debug, Clone)]
pub struct TunnelFacts {
    /// The interface's name.
    pub interface: String,
    /// Whether the kernel carries it.
    pub kernel: bool,
    /// This node's address in it.
    pub address: std::net::IpAddr,
    /// The port on which all nodes receive datagrams, inside the tunnel.
    pub port: u16,
}

impl TunnelFacts {
    /// The mesh before anything has happened in it.
    pub fn mesh(&self) -> MeshStatus {
        MeshStatus {
            interface: self.interface.clone(),
            kernel: self.kernel,
            tunnel_address: self.address,
            accepted: 0,
            refused: 0,
            refused_for_clock: 0,
            refused_for_address: 0,
            clock_ahead_ms: None,
            unsent: 0,
            tunnels: Vec::new(),
        }
    }
}

/// What the operator may want meanwhile.
pub struct Signals {
    /// The end.
    pub stop: Stop,
    /// Another configuration.
    pub hangup: Hangup,
    /// What is done about it.
    pub reload: Reload,
}

/// How the main loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// This node does not belong to the cluster any more.
    Left,
    /// There is no tunnel any more.
    TunnelLost,
}

/// The running coordinator.
pub struct Coordinator {
    pub(super) core: Cluster,
    pub(super) lines: Lines,
    pub(super) facts: TunnelFacts,
    pub(super) door: Door,
    pub(super) keyring: Keyring,
    pub(super) unsent: u64,
    pub(super) refused_for_address: u64,
    pub(super) clocks: Clocks,
    overlap: Duration,
    book: AddressBook,
    left: bool,
    keepalive: Keepalive,
    status: Interval,
    told: String,
}

impl Coordinator {
    /// A coordinator that does nothing until [`Coordinator::run`]. A token that was replaced counts for `overlap` at the
    /// door.
    pub fn new(
        core: Cluster,
        lines: Lines,
        facts: TunnelFacts,
        door: Door,
        keyring: Keyring,
        overlap: Duration,
    ) -> Self {
        let mut status = interval(STATUS_EVERY);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            core,
            lines,
            book: AddressBook::new(facts.port),
            facts,
            door,
            keyring,
            overlap,
            unsent: 0,
            refused_for_address: 0,
            clocks: Clocks::default(),
            left: false,
            keepalive: Keepalive::from_environment(),
            status,
            told: String::new(),
        }
    }

    /// Keeps the cluster until told to stop, or until this node has left; then ends in order. `tasks` are those at the other
    /// ends of the lines that have something to finish.
    pub async fn run(mut self, mut signals: Signals, tasks: Vec<JoinHandle<()>>) -> End {
        self.trust(self.keyring.newest().0);
        for peer in signals.reload.peers().to_vec() {
            self.happen(Event::PeerConfigured(peer));
        }
        self.happen(Event::Start);
        notify(&[Notice::Ready]);
        let mut end = End::Stopped;
        while !self.left {
            let due = self.core.next_timeout();
            tokio::select! {
                received = self.lines.socket.recv(unix_ms) => self.received(received).await,
                () = until(due) => self.timer().await,
                Some(news) = self.lines.publisher.recv() => self.heard_publisher(news),
                Some(news) = self.lines.proxy.recv() => self.heard_proxy(news),
                Some(call) = self.lines.calls.recv() => self.answer(call),
                event = CanaryLine::next_of(&mut self.lines.canary) => {
                    if let Some(canary) = &mut self.lines.canary {
                        canary.handle(event);
                    }
                }
                () = self.keepalive.ping() => {}
                _ = self.status.tick() => self.tell_status(),
                () = signals.hangup.heard() => {
                    notify(&[Notice::Reloading]);
                    signals.reload.take_over().into_iter().for_each(|event| self.happen(event));
                    notify(&[Notice::Ready]);
                }
                Err(_) = self.lines.tunnels.changed() => {
                    end = End::TunnelLost;
                    break;
                }
                () = signals.stop.wanted() => break,
            }
        }
        notify(&[Notice::Stopping]);
        if end == End::Stopped {
            // Without a tunnel nobody would hear it.
            self.happen(Event::Shutdown);
            sleep(GOODBYE).await;
        }
        let end = if self.left { End::Left } else { end };
        // Dropping the lines tells the tasks that nothing more will come.
        drop(self);
        for task in tasks {
            if timeout(FAREWELL, task).await.is_err() {
                tracing::warn!("something did not end in time and is cut off");
            }
        }
        end
    }

    pub(super) fn happen(&mut self, event: Event<'_>) {
        for action in self.core.handle(Instant::now(), unix_ms(), event) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send { to, bytes, under } => self.send(&to, &bytes, under),
            Action::SetPeer(peer) => {
                self.book.enter(peer.node.clone(), peer.tunnel_address);
                self.wish(Wish::Set(peer));
            }
            Action::RemovePeer(peer) => {
                self.book.strike(&peer.node, peer.tunnel_address);
                self.wish(Wish::Remove(peer));
            }
            Action::Order(order) => {
                self.lines
                    .wanted
                    .send_modify(|wanted| wanted.order = order.map(publisher_link::to_publisher));
            }
            Action::Mute(muted) => self.lines.wanted.send_modify(|wanted| wanted.muted = muted),
            Action::Drained => {
                tokio::spawn(proxy_link::finish(self.lines.proxy_socket.clone()));
            }
            Action::Adopt(rotation) => self.adopt(&rotation),
            Action::Remember(memory) => _ = self.lines.memories.send_replace(Some(memory)),
            Action::Admitted { number, verdict } => {
                self.door.decided(Instant::now(), unix_ms(), number, verdict);
            }
            Action::Left => self.left = true,
            Action::StateChanged(change) if change.is_alarming() => tracing::warn!("{change}"),
            Action::StateChanged(change) => tracing::info!("{change}"),
        }
    }

    fn send(&mut self, to: &NodeId, bytes: &[u8], under: TokenName) {
        let Some(address) = self.book.find(to) else { return self.unsent += 1 };
        // A full send buffer is a datagram lost, which the core expects, rather than a loop that stands.
        match self.lines.socket.try_send(address, bytes, unix_ms(), under) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                self.unsent += 1;
                tracing::debug!(%to, %error, "a datagram was not sent");
            }
            None => self.unsent += 1,
        }
    }

    fn adopt(&mut self, rotation: &Rotation) {
        let token = rotation.token;
        let outcome = match self.keyring.adopt(rotation) {
            Ok(()) => {
                self.trust(token);
                Event::TokenAdopted(token)
            }
            Err(error) => {
                tracing::warn!(%token, %error, "an order for a new cluster token is refused");
                Event::TokenRefused(token)
            }
        };
        self.happen(outcome);
    }

    /// Seals and opens under this token from now on, and lets nodes join under it.
    fn trust(&mut self, name: TokenName) {
        if let Some(token) = self.keyring.token(name) {
            self.lines.socket.trust(name, &token, SessionSalt::generate(&mut rand::rng()));
            if let Some(canary) = &mut self.lines.canary {
                canary.trust(token.join_keys());
            }
        }
        self.door.trust(Instant::now(), unix_ms(), self.keyring.trusted(self.overlap));
    }

    fn wish(&self, wish: Wish) {
        if let Err(error) = self.lines.wishes.try_send(wish) {
            tracing::error!(%error, "the tunnel does not keep up; a peer may be unreachable until a restart");
        }
    }

    async fn received(&mut self, received: io::Result<Received>) {
        match received {
            Ok(Received { from, outcome: Ok(opened) }) if self.book.vouches(&opened.sender, from) => {
                let ahead_ms =
                    i64::try_from(unix_ms()).unwrap_or(i64::MAX).saturating_sub_unsigned(opened.sent_ms);
                self.clocks.heard(Instant::now(), &opened.sender, ahead_ms);
                self.happen(Event::Datagram {
                    from: &opened.sender,
                    bytes: &opened.payload,
                    under: opened.under,
                });
            }
            Ok(Received { from, outcome: Ok(opened) }) => {
                self.refused_for_address += 1;
                tracing::debug!(sender = %opened.sender, %from, "a datagram from another's address was refused");
            }
            Ok(Received { from, outcome: Err(error) }) => {
                if let OpenError::Clock { sender, skew_ms } = &error {
                    self.clocks.heard(Instant::now(), sender, skew_ms.saturating_neg());
                }
                tracing::debug!(%from, %error, "a datagram was refused");
            }
            Err(error) => {
                tracing::warn!(%error, "the mesh socket failed");
                sleep(SOCKET_PAUSE).await;
            }
        }
    }

    /// A timer is due: first what has arrived, then the timer.
    async fn timer(&mut self) {
        for _ in 0..DATAGRAMS_FIRST {
            let Some(received) = self.lines.socket.try_recv(unix_ms) else { break };
            self.received(received).await;
        }
        self.happen(Event::Timer);
    }

    /// Tells the service manager how the cluster is, and the canary whom it should meet.
    fn tell_status(&mut self) {
        let status = self.core.status(Instant::now());
        if let Some(canary) = &mut self.lines.canary {
            canary.expect(status.published_points());
        }
        let text = status.to_string();
        if text != self.told {
            notify(&[Notice::Status(&text)]);
            self.told = text;
        }
    }
}
