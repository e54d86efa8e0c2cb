//! What happens to the cluster, one file a scene. Each begins with all well and leaves the lab so that all will
//! be well again.

use super::error::LabError;
use super::measure::Outcome;
use super::scene_name::SceneName;
use super::world::World;

mod all_killed;
mod burden;
mod chain;
mod chaos;
mod control_broken;
mod damaged_key;
mod departure;
mod drain;
mod fence;
mod flood;
mod freeze;
mod full_disk;
mod hsdir;
mod join;
mod join_flood;
mod join_late;
mod kill;
mod kill_holder;
mod load;
mod lonely;
mod lossy;
mod newcomer;
mod open_key;
mod partition;
mod publisher_hangs;
mod relay_gone;
mod replace;
mod r#return;
mod rotate;
mod rotate_token;
mod silent_guard;
mod spread;
mod target_down;
mod targets_down;
mod tor_cut;
mod tors;
mod tunnel_gone;
mod two_nodes;
mod web_socket;

use hsdir::Illness;
use load::Played;
use relay_gone::Replacement;
use targets_down::Outage;
use tors::Blow;

/// Plays a scene.
pub(super) async fn play(name: SceneName, world: &mut World) -> Outcome {
    let scene = name.word();
    let performed = perform(name, world).await;
    world.call_all_back().await;
    match performed {
        Ok(Played { measures, notes }) => Outcome { scene, measures, error: None, notes },
        Err(error) => {
            Outcome { scene, measures: Vec::new(), error: Some(error.to_string()), notes: Vec::new() }
        }
    }
}

async fn perform(name: SceneName, world: &mut World) -> Result<Played, LabError> {
    world.settle().await?;
    world.screen.doing(format!("scene {}", name.word()));
    match name {
        SceneName::Spread => spread::play(world).await,
        SceneName::WebSocket => web_socket::play(world).await,
        SceneName::Flood => flood::play(world).await,
        SceneName::TorRestart => tors::play(world, Blow::Crash).await,
        SceneName::TorHung => tors::play(world, Blow::Hang).await,
        SceneName::TorsKilled => tors::play(world, Blow::CrashBoth).await,
        SceneName::TorCut => tor_cut::play(world).await,
        SceneName::ControlBroken => control_broken::play(world).await,
        SceneName::SilentGuard => silent_guard::play(world).await,
        SceneName::RelayGone => relay_gone::play(world, Replacement::AtOnce).await,
        SceneName::RelayUnreplaced => relay_gone::play(world, Replacement::Hindered).await,
        SceneName::TargetDown => target_down::play(world).await,
        SceneName::TargetsDown => targets_down::play(world, Outage::Refuses).await,
        SceneName::TargetHangs => targets_down::play(world, Outage::Hangs).await,
        SceneName::HsdirForgets => hsdir::play(world, Illness::Forgets).await,
        SceneName::HsdirHangs => hsdir::play(world, Illness::Hangs).await,
        SceneName::HsdirRefuses => hsdir::play(world, Illness::Refuses).await,
        SceneName::Kill => kill::play(world).await,
        SceneName::Return => r#return::play(world).await,
        SceneName::KillHolder => kill_holder::play(world).await,
        SceneName::PublisherHangs => publisher_hangs::play(world).await,
        SceneName::DamagedKey => damaged_key::play(world).await,
        SceneName::FullDisk => full_disk::play(world).await,
        SceneName::OpenKey => open_key::play(world).await,
        SceneName::AllKilled => all_killed::play(world).await,
        SceneName::Fence => fence::play(world).await,
        SceneName::Freeze => freeze::play(world).await,
        SceneName::Partition => partition::play(world).await,
        SceneName::TunnelGone => tunnel_gone::play(world).await,
        SceneName::Lossy => lossy::play(world).await,
        SceneName::Join => join::play(world).await,
        SceneName::JoinLate => join_late::play(world).await,
        SceneName::JoinFlood => join_flood::play(world).await,
        SceneName::Chain => chain::play(world).await,
        SceneName::Drain => drain::play(world).await,
        SceneName::Replace => replace::play(world).await,
        SceneName::RotateToken => rotate_token::play(world).await,
        SceneName::TwoNodes => two_nodes::play(world).await,
        SceneName::Lonely => lonely::play(world).await,
        SceneName::Rotate => rotate::play(world).await,
        SceneName::Chaos => chaos::play(world).await,
    }
}
