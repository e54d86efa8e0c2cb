//! The main loop: select an event, let the core handle it, perform its actions.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::address_book::AddressBook;
use super::publisher_link::News;
use super::tunnel::Wish;
use crate::ipc::coordinator::{
    Checked, CoordinatorCall, CoordinatorStatus, DrainWish, JoinReply, MeshStatus, Noted, TunnelStatus,
};
use crate::mesh::socket::{MeshSocket, Received};
use crate::proto::cluster::core::Cluster;
use crate::proto::cluster::events::{Action, Event, PublishOrder};
use crate::proto::cluster::note::Drain;
use crate::proto::cluster::roster::Peer;
use crate::proto::cluster::token::TokenName;
use crate::proto::publish::order::{Candidate, Order};
use crate::proto::publish::report::PublisherReport;
use crate::sys::clock::unix_ms;
use crate::sys::notify::{Keepalive, Notice, notify};
use crate::sys::stop::{Stop, until};

/// Datagrams handled before a timer that is due: what has arrived must count before silence is judged, but a flood
/// must not stop the clock. Fifty nodes send fewer within a round.
const DATAGRAMS_FIRST: usize = 256;
/// Pause after the socket failed: trying again at once would only burn the processor.
const SOCKET_PAUSE: Duration = Duration::from_millis(50);
/// How often the line in `systemctl status` is renewed.
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
    pub news: mpsc::Receiver<News>,
    /// Orders for the publisher.
    pub orders: watch::Sender<Option<Order>>,
    /// Calls from the control socket.
    pub calls: mpsc::Receiver<CoordinatorCall>,
}

/// Facts about the tunnel that do not change.
#[derive(Debug, Clone)]
pub struct TunnelFacts {
    /// The interface's name.
    pub interface: String,
    /// Whether the kernel carries it.
    pub kernel: bool,
    /// The port on which all nodes receive datagrams, inside the tunnel.
    pub port: u16,
}

/// The running coordinator.
pub struct Coordinator {
    core: Cluster,
    under: TokenName,
    lines: Lines,
    facts: TunnelFacts,
    book: AddressBook,
    unsent: u64,
    refused_for_address: u64,
    keepalive: Keepalive,
    status: Interval,
    told: String,
}

impl Coordinator {
    /// A coordinator that does nothing until [`Coordinator::run`].
    pub fn new(core: Cluster, lines: Lines, facts: TunnelFacts) -> Self {
        let mut status = interval(STATUS_EVERY);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            core,
            under: TokenName::default(),
            lines,
            book: AddressBook::new(facts.port),
            facts,
            unsent: 0,
            refused_for_address: 0,
            keepalive: Keepalive::from_environment(),
            status,
            told: String::new(),
        }
    }

    /// Keeps the cluster with these peers until told to stop; then leaves it in order. `tasks` are those at the other
    /// ends of the lines that have something to finish.
    pub async fn run(mut self, peers: Vec<Peer>, mut stop: Stop, tasks: Vec<JoinHandle<()>>) {
        for peer in peers {
            self.happen(Event::PeerConfigured(peer));
        }
        self.happen(Event::Start);
        notify(&[Notice::Ready]);
        loop {
            let due = self.core.next_timeout();
            tokio::select! {
                received = self.lines.socket.recv(unix_ms) => self.received(received).await,
                () = until(due) => self.timer().await,
                Some(news) = self.lines.news.recv() => self.heard(news),
                Some(call) = self.lines.calls.recv() => self.answer(call),
                () = self.keepalive.ping() => {}
                _ = self.status.tick() => self.tell_status(),
                () = stop.wanted() => break,
            }
        }
        notify(&[Notice::Stopping]);
        self.happen(Event::Shutdown);
        sleep(GOODBYE).await;
        // Dropping the lines tells the tasks that nothing more will come.
        drop(self);
        for task in tasks {
            if timeout(FAREWELL, task).await.is_err() {
                tracing::warn!("something did not end in time and is cut off");
            }
        }
    }

    fn happen(&mut self, event: Event<'_>) {
        for action in self.core.handle(Instant::now(), unix_ms(), event) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send { to, bytes, under: _ } => {
                let Some(address) = self.book.find(&to) else { return self.unsent += 1 };
                // A full send buffer is a datagram lost, which the core expects, rather than a loop that stands.
                match self.lines.socket.try_send(address, &bytes, unix_ms()) {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        self.unsent += 1;
                        tracing::debug!(%to, %error, "a datagram was not sent");
                    }
                    None => self.unsent += 1,
                }
            }
            Action::SetPeer(peer) => {
                self.book.enter(peer.node.clone(), peer.tunnel_address);
                self.wish(Wish::Set(peer));
            }
            Action::RemovePeer(peer) => {
                self.book.strike(&peer.node, peer.tunnel_address);
                self.wish(Wish::Remove(peer));
            }
            Action::Order(order) => _ = self.lines.orders.send_replace(order.map(to_publisher)),
            // There is one token, nothing is kept, and nobody asks to be let in.
            Action::Adopt(_)
            | Action::Remember(_)
            | Action::Admitted { .. }
            | Action::Mute(_)
            | Action::Drained
            | Action::Left => {}
            Action::StateChanged(change) if change.is_alarming() => tracing::warn!("{change}"),
            Action::StateChanged(change) => tracing::info!("{change}"),
        }
    }

    fn wish(&self, wish: Wish) {
        if let Err(error) = self.lines.wishes.try_send(wish) {
            tracing::error!(%error, "the tunnel does not keep up; a peer may be unreachable until a restart");
        }
    }

    async fn received(&mut self, received: io::Result<Received>) {
        match received {
            Ok(Received { from, outcome: Ok(opened) }) if self.book.vouches(&opened.sender, from) => {
                self.happen(Event::Datagram {
                    from: &opened.sender,
                    bytes: &opened.payload,
                    under: self.under,
                });
            }
            Ok(Received { from, outcome: Ok(opened) }) => {
                self.refused_for_address += 1;
                tracing::debug!(sender = %opened.sender, %from, "a datagram from another's address was refused");
            }
            Ok(Received { from, outcome: Err(error) }) => {
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

    fn heard(&mut self, news: News) {
        match news {
            News::Found => self.happen(Event::PublisherFound),
            News::Lost => self.happen(Event::PublisherLost),
            News::Report(report) => {
                let PublisherReport { points, capabilities, counters, published, .. } = *report;
                self.happen(Event::OwnCounters(counters));
                self.happen(Event::Published(published));
                // Without capabilities it has not read its own descriptor yet, and no points means nothing.
                if let Some(capabilities) = capabilities {
                    self.happen(Event::OwnCapabilities(capabilities));
                    self.happen(Event::OwnPoints(points));
                }
            }
        }
    }

    fn answer(&mut self, call: CoordinatorCall) {
        match call {
            CoordinatorCall::Status(reply) => reply.answer(&self.describe()),
            // Without a join secret nobody can know it.
            CoordinatorCall::CheckSecret { digest: _, reply } => reply.answer(&Checked { ours: false }),
            CoordinatorCall::Join { body: _, reply } => reply.answer(&JoinReply { answer: None }),
            CoordinatorCall::Drain { wish, reply } => {
                self.drain(wish);
                reply.answer(&Noted {});
            }
            CoordinatorCall::RotateToken(reply) => reply.refuse("this node cannot make tokens"),
            CoordinatorCall::Leave(reply) => {
                self.happen(Event::Leave);
                reply.answer(&Noted {});
            }
        }
    }

    fn drain(&mut self, wish: DrainWish) {
        let own = self.core.status(Instant::now()).node;
        let DrainWish { node, draining, deadline_secs, after } = wish;
        let (node, at_ms) = (node.unwrap_or_else(|| own.clone()), unix_ms());
        self.happen(Event::Drain(Drain { node, draining, at_ms, by: own, deadline_secs, after }));
    }

    fn describe(&self) -> CoordinatorStatus {
        let cluster = self.core.status(Instant::now());
        let opened = self.lines.socket.counters();
        let own = cluster.nodes.iter().find(|node| node.node == cluster.node);
        let unspecified = std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
        let mesh = MeshStatus {
            interface: self.facts.interface.clone(),
            kernel: self.facts.kernel,
            tunnel_address: own.and_then(|own| own.tunnel_address).unwrap_or(unspecified),
            accepted: opened.accepted,
            refused: opened.refused(),
            refused_for_clock: opened.clock,
            refused_for_address: self.refused_for_address,
            unsent: self.unsent,
            tunnels: self.lines.tunnels.borrow().clone(),
        };
        CoordinatorStatus { cluster, mesh }
    }

    fn tell_status(&mut self) {
        let text = self.core.status(Instant::now()).to_string();
        if text != self.told {
            notify(&[Notice::Status(&text)]);
            self.told = text;
        }
    }
}

fn to_publisher(order: PublishOrder) -> Order {
    let candidates = order.candidates.into_iter().map(|(node, points)| Candidate { node, points }).collect();
    let PublishOrder { epoch, capabilities, last_counters, .. } = order;
    Order { epoch, candidates, capabilities, last_counters }
}
