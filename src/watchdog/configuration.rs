//! Looking at the configuration's file: is it what was loaded, and could a daemon start with it?
//!
//! What this daemon has loaded stands for all: whoever tells one of them to read it again tells all.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::config::file::Config;
use crate::config::reload::not_loaded;
use crate::proto::health::vitals::{Configuration, Observation};

/// People change it, and are given minutes to finish.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// So many keys are named: enough to remember what was changed.
const MOST_NAMED: usize = 5;

/// Looks again and again, and at once when another one was loaded, until nobody listens.
pub(super) async fn watch(mut loaded: watch::Receiver<Config>, observations: mpsc::Sender<Observation>) {
    loop {
        let config = loaded.borrow_and_update().clone();
        // A call that a network file system could keep waiting; it must not keep our other work.
        let seen = tokio::task::spawn_blocking(move || look(&config)).await;
        if let Ok(seen) = seen
            && observations.send(Observation::Configuration(seen)).await.is_err()
        {
            return;
        }
        if let Ok(Err(_)) = timeout(LOOK_EVERY, loaded.changed()).await {
            return;
        }
    }
}

fn look(loaded: &Config) -> Configuration {
    match not_loaded(loaded) {
        // Its reason may quote the file, where an operator may have written a password: `check-config` tells it.
        Err(_) => Configuration { wrong: true, ..Configuration::default() },
        Ok(keys) => {
            let (named, changed_more) = keys.first(MOST_NAMED);
            let changed = named.into_iter().map(str::to_owned).collect();
            Configuration { wrong: false, changed, changed_more }
        }
    }
}
