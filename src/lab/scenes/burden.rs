//! What a node that leaves in order must not disturb: a thousand requests, some of them from users who stay with a
//! node, and twenty long downloads.

use std::time::Duration;

use super::load::{Allowed, Load, Played, at_least};
use crate::lab::content::Length;
use crate::lab::download::Downloads;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Requests.
const REQUESTS: usize = 1000;
/// Long downloads.
const DOWNLOADS: usize = 20;
/// A video of a minute, say.
const LENGTH: Length = Length { bytes: 512 * 1024, duration: Duration::from_mins(1) };

/// Clients at work.
#[derive(Debug)]
pub(super) struct Burden {
    scene: &'static str,
    load: Load,
}

/// The same, with downloads under way.
#[derive(Debug)]
pub(super) struct FullBurden {
    load: Load,
    downloads: Downloads,
}

impl Burden {
    /// Starts the requests.
    pub(super) async fn start(world: &World, scene: &'static str) -> Result<Self, LabError> {
        Ok(Self { scene, load: Load::start_crowd(world, scene).await? })
    }

    /// Starts the downloads and waits until each of them has begun.
    pub(super) async fn add_downloads(self, world: &World) -> FullBurden {
        world.screen.doing(format!("scene {}: {DOWNLOADS} long downloads begin", self.scene));
        let (clients, address) = (&world.clients, world.address());
        let downloads = Downloads::start(self.scene, clients, &address, DOWNLOADS, LENGTH, &world.screen);
        downloads.all_begun().await;
        FullBurden { load: self.load, downloads }
    }
}

impl FullBurden {
    /// Waits for all downloads and at least a thousand requests. Nothing may have gone wrong with any.
    pub(super) async fn finish(self) -> Result<Played, LabError> {
        let done = self.downloads.finish().await;
        let mut played = self.load.finish(REQUESTS, Allowed::Nothing).await?;
        let failed: Vec<_> = done.iter().filter_map(|one| one.as_ref().err()).collect();
        let cut = Measure::count("cut off, or with a wrong byte", Bound::AtMost(0.0), failed.len());
        played.measures.push(Measure::count("long downloads", at_least(DOWNLOADS), done.len()));
        played.measures.push(cut);
        played.notes.extend(failed.iter().map(|error| format!("a download: {error}")));
        Ok(played)
    }
}
