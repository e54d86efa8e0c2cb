//! `web-socket`: nothing happens to the cluster, and web sockets go through it in HTTP mode.

use std::time::Duration;

use tokio::task::JoinSet;

use super::load::{Played, at_least};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::web_socket::Talker;
use crate::lab::world::World;

/// Conversations at the same time, each over a circuit of its own.
const CONVERSATIONS: usize = 12;
/// Messages of each.
const MESSAGES: usize = 10;
/// Before each message.
const PAUSE: Duration = Duration::from_secs(1);
/// Nothing else happens so long.
const QUIET: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let target = format!("http://{}", world.plan.target);
    for node in &world.nodes {
        node.aim(Some(&target), "").await?;
    }
    let played = talk(world).await;
    for node in &world.nodes {
        node.aim(None, "").await?;
    }
    played
}

async fn talk(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let mut running = JoinSet::new();
    for (number, client) in (0..CONVERSATIONS).zip(world.clients.iter().cycle()) {
        let talker = Talker {
            socks: client.socks,
            host: world.address(),
            target: world.plan.target.to_string(),
            circuit: format!("socket-{number}"),
        };
        running.spawn(async move { talker.converse(MESSAGES, PAUSE).await });
    }
    let (mut longest, mut whole, mut notes) = (Duration::ZERO, 0, Vec::new());
    for done in running.join_all().await {
        match done {
            Ok(echo) => {
                whole += 1;
                longest = longest.max(echo);
            }
            Err(error) => notes.push(format!("a web socket: {error}")),
        }
    }
    let measures = vec![
        Measure::count("conversations of ten messages, each echoed", at_least(CONVERSATIONS), whole),
        Measure::time("longest time to an echo", Bound::Shown, (whole > 0).then_some(longest)),
    ];
    Ok(Played { measures, notes })
}
