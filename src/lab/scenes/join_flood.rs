//! `join-flood`: strangers who know the way to the door, but not the token, ask to be let in without a pause, while a node
//! comes that may. Nobody tells them that there is a door: the target answers them as it answers everybody.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::load::{Allowed, Load, Played};
use super::newcomer::{invite, join, leave, until_joined};
use crate::lab::client::{is_the_page, say};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::FETCH_LIMIT;
use crate::lab::world::World;
use crate::proto::join::http::write_request;
use crate::proto::join::keys::JoinKeys;
use crate::proto::join::member::Member;
use crate::proto::join::request::JoinRequest;
use crate::proto::join::ticket::Ticket;
use crate::proto::node::Priority;
use crate::sys::clock::unix_secs;

/// Pages.
const FETCHES: usize = 60;
/// A node that comes, and goes again.
const QUIET: Duration = Duration::from_mins(1);
/// Strangers, each with a circuit of its own.
const STRANGERS: usize = 32;
/// What a stranger waits before it asks again.
const PAUSE: Duration = Duration::from_millis(500);
/// From the invitation to the new node's points on every HSDir, as without strangers.
const JOINED: f64 = 30.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "join-flood").await?;
    let inviter = world.standby().await;
    let invitation = invite(world, inviter).await?;
    let flood = Flood::begin(world)?;
    let began = Instant::now();
    let node = join(world, &invitation).await?;
    until_joined(world, node, PATIENCE).await?;
    let is_in = began.elapsed();
    let joined = world.until_back(node, PATIENCE).await?.map(|()| began.elapsed());
    let known = world.coordinator(inviter).await.map_or(0, |status| status.cluster.nodes.len());
    let asked = flood.end().await;

    let expected = world.nodes.len();
    // What clients meet of a node's leaving is what `join` is about.
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    leave(world, node, PATIENCE).await?;
    let measures = [
        Measure::time("invitation to being let in", Bound::Shown, Some(is_in)),
        Measure::time("invitation to its points everywhere", Bound::AtMost(JOINED), joined),
        Measure::count("strangers let in", Bound::AtMost(0.0), known.saturating_sub(expected)),
        Measure::count("requests of strangers, answered by the target", Bound::Shown, asked.forwarded),
        Measure::count("requests of strangers, answered otherwise", Bound::AtMost(0.0), asked.told),
        Measure::count("requests of strangers without an answer", Bound::Shown, asked.unanswered),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// What strangers were told.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// As by the target.
    forwarded: usize,
    /// Something else.
    told: usize,
    /// Nothing in time: the machine has two cores for all of this.
    unanswered: usize,
}

/// Strangers who ask without a pause.
struct Flood {
    strangers: JoinSet<Asked>,
    stop: watch::Sender<bool>,
}

impl Flood {
    fn begin(world: &World) -> Result<Self, LabError> {
        world.screen.note("strangers ask to be let in");
        let (stop, stopped) = watch::channel(false);
        let mut strangers = JoinSet::new();
        for (number, client) in (0..STRANGERS).zip(world.clients.iter().cycle()) {
            let request = write_request(&world.plan.address, &world.plan.join_secret, &made_up()?);
            let stranger = Stranger {
                socks: client.socks,
                host: world.address(),
                circuit: format!("stranger-{number}"),
                request,
                stopped: stopped.clone(),
            };
            strangers.spawn(stranger.ask());
        }
        Ok(Self { strangers, stop })
    }

    async fn end(self) -> Asked {
        let _ = self.stop.send(true);
        let add = |all: Asked, one: Asked| Asked {
            forwarded: all.forwarded + one.forwarded,
            told: all.told + one.told,
            unanswered: all.unanswered + one.unanswered,
        };
        self.strangers.join_all().await.into_iter().fold(Asked::default(), add)
    }
}

/// Somebody who asks to be let in, again and again.
struct Stranger {
    socks: SocketAddr,
    host: String,
    circuit: String,
    request: Zeroizing<Vec<u8>>,
    stopped: watch::Receiver<bool>,
}

impl Stranger {
    async fn ask(self) -> Asked {
        let mut asked = Asked::default();
        while !*self.stopped.borrow() {
            let answer = say(self.socks, &self.host, &self.circuit, &self.request);
            match timeout(FETCH_LIMIT, answer).await {
                Ok(Ok(answer)) if is_the_page(&answer) => asked.forwarded += 1,
                Ok(Ok(_)) => asked.told += 1,
                Ok(Err(_)) | Err(_) => asked.unanswered += 1,
            }
            sleep(PAUSE).await;
        }
        asked
    }
}

/// A request that is right but for the token it is proven with. Who is let in by it is one node more.
fn made_up() -> Result<Vec<u8>, LabError> {
    let mut rng = rand::rng();
    let keys = JoinKeys::new(Zeroizing::new(rng.random()), Zeroizing::new(rng.random()));
    let member = Member {
        node: "stranger".parse().map_err(|_| LabError::Request)?,
        wireguard_key: rng.random(),
        endpoint: None,
        tunnel_address: IpAddr::V6(Ipv6Addr::from(rng.random::<u128>())),
    };
    let request_time = unix_secs();
    let ticket = Ticket::issue(&keys, rng.random(), (request_time + 3600) * 1000, 1);
    let request = JoinRequest { member, priority: Priority(1), request_time, ticket };
    let (body, _tag) = request.prove(&keys).map_err(|_| LabError::Request)?;
    Ok(body)
}
