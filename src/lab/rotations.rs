//! When the nodes' serving tors gave up their introduction points of one time period and served at those of the next.
//!
//! With each new shared random value tor closes all circuits to the points of its current descriptor in one instant. Who has
//! just been told by a point that its introduction is on its way waits for nothing then, and longer than clients of the lab
//! wait. It happens with every onion service, and nothing beside tor can avoid it, so it is counted apart from what nodes and
//! daemons lose.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Fetch;
use super::control::{self, AuthKeys};
use crate::proto::onion::address::HsId;

/// How the fetches are named that failed so.
pub(super) const LOST: &str = "failed, under way when a tor changed all its points";
/// Between two looks at a tor's points. A tor that died and was started again is without points for longer.
const INTERVAL: Duration = Duration::from_millis(250);
/// A look that takes longer found nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Watches tors until it is dropped.
#[derive(Debug)]
pub(super) struct Rotations {
    seen: Arc<Mutex<Vec<Instant>>>,
    _watchers: JoinSet<()>,
}

impl Rotations {
    /// Watches the tors with these control sockets.
    pub(super) fn watch(sockets: Vec<PathBuf>, service: &HsId) -> Self {
        let seen = Arc::<Mutex<Vec<Instant>>>::default();
        let watchers = sockets.into_iter().map(|socket| watch(socket, *service, Arc::clone(&seen))).collect();
        Self { seen, _watchers: watchers }
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether a tor rotated while this was under way.
    pub(super) fn was_during(&self, fetch: &Fetch) -> bool {
        let under_way = fetch.began..fetch.began + fetch.took;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // It was after the last look but one.
        seen.iter().any(|seen| *seen >= under_way.start && *seen < under_way.end + INTERVAL * 2)
    }
}

async fn watch(socket: PathBuf, service: HsId, seen: Arc<Mutex<Vec<Instant>>>) {
    let mut before = AuthKeys::new();
    loop {
        if let Ok((controller, _)) = control::connect(&socket, ANSWER_LIMIT).await {
            loop {
                let now = control::serving_points(&controller, &service).await;
                if is_rotation(&before, &now) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                }
                before = now;
                if before.is_empty() {
                    break;
                }
                sleep(INTERVAL).await;
            }
        }
        before.clear();
        sleep(INTERVAL).await;
    }
}

/// Whether all points are others, and there was no moment without any.
fn is_rotation(before: &AuthKeys, now: &AuthKeys) -> bool {
    !before.is_empty() && !now.is_empty() && before.is_disjoint(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tor_rotates_when_all_its_points_are_others_at_once() {
        let [none, old, one_more, new] = [&[][..], &[1, 2, 3], &[1, 2, 4], &[5, 6, 7]]
            .map(|keys| keys.iter().map(|key| [*key; 32]).collect::<AuthKeys>());
        assert!(is_rotation(&old, &new));
        assert!(!is_rotation(&old, &one_more), "a point was lost");
        assert!(!is_rotation(&old, &none) && !is_rotation(&none, &new), "the tor died, and came back");
    }

    #[test]
    fn a_fetch_is_excused_only_if_it_was_under_way_then() {
        let began = Instant::now();
        let took = Duration::from_secs(10);
        let fetch = Fetch { began, took, repeats: Vec::new(), failure: None };
        let during = |at: Instant| {
            let seen = Arc::new(Mutex::new(vec![at]));
            Rotations { seen, _watchers: JoinSet::new() }.was_during(&fetch)
        };
        assert!(during(began + took / 2));
        assert!(during(began + took + INTERVAL), "which was before this look");
        assert!(!during(began + took + INTERVAL * 2));
        assert!(!during(began.checked_sub(INTERVAL).unwrap()));
    }
}
