//! Reading the configuration again while a daemon runs, and what that means: which keys have changed, which of them are
//! taken over at once, and which wait for the next start.
//!
//! Files that the configuration names are not looked at: a secret that was replaced counts from the next start on.

use std::collections::BTreeSet;
use std::fmt;

use toml::{Table, Value};

use super::file::{Config, ConfigError};

/// What a daemon reads of the configuration, by dotted keys; a key stands for all that is below it.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// All that concerns this daemon.
    pub sections: &'static [&'static str],
    /// What of it can change while it runs.
    pub live: &'static [&'static str],
}

impl Scope {
    fn is_live(&self, key: &str) -> bool {
        covers(self.live, key)
    }
}

/// The configuration of a running daemon: as it was at the start, and as it was read last.
#[derive(Debug)]
pub struct Reloads {
    scope: Scope,
    started: Config,
    current: Config,
}

/// What has changed, as far as it concerns a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Keys that differ from when the configuration was read last, and can be taken over.
    pub live: Keys,
    /// Keys that differ from when the daemon started, and count from its next start on.
    pub waiting: Keys,
}

impl Changes {
    /// Tells the operator, in the messages themselves: the journal shows no fields unless it is asked for them.
    pub fn tell(&self) {
        if self.live.is_empty() {
            tracing::info!("the configuration was read again; nothing in it has to be taken over");
        } else {
            tracing::info!("the configuration was read again; taken over: {}", self.live);
        }
        if !self.waiting.is_empty() {
            tracing::warn!("changed, but counts only when this daemon is started again: {}", self.waiting);
        }
    }
}

/// Tells the operator that a new configuration is not taken over.
pub fn tell_refused(error: &dyn std::error::Error) {
    tracing::error!("the new configuration is refused, the one from before stays in force: {error}");
}

/// Dotted keys, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys(BTreeSet<String>);

impl Keys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first ones, and how many there are besides.
    pub fn first(&self, most: usize) -> (Vec<&str>, usize) {
        (self.0.iter().take(most).map(String::as_str).collect(), self.0.len().saturating_sub(most))
    }

    /// Whether this key, or one below it, is among them.
    pub fn touch(&self, key: &str) -> bool {
        self.0.iter().any(|changed| covers(&[key], changed))
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    }
}

impl Reloads {
    /// A daemon has started with this.
    pub fn new(scope: Scope, started: Config) -> Self {
        Self { scope, current: started.clone(), started }
    }

    /// The configuration as it was at the start, for what cannot change.
    pub fn started(&self) -> &Config {
        &self.started
    }

    /// Reads the file again. Nothing counts until it is [adopted](Self::adopt).
    pub fn read(&self) -> Result<(Config, Changes), ConfigError> {
        let read = Config::load(self.started.path())?;
        let differing = |from: &Config| {
            let keys = changed_keys(from.text(), read.text());
            keys.into_iter().filter(|key| covers(self.scope.sections, key))
        };
        let live = differing(&self.current).filter(|key| self.scope.is_live(key)).collect();
        let waiting = differing(&self.started).filter(|key| !self.scope.is_live(key)).collect();
        Ok((read, Changes { live: Keys(live), waiting: Keys(waiting) }))
    }

    /// What was read counts from now on.
    pub fn adopt(&mut self, read: Config) {
        self.current = read;
    }
}

/// The keys whose values in the file are others than those that were loaded from it, or why the file is wrong now.
pub fn not_loaded(loaded: &Config) -> Result<Keys, ConfigError> {
    let read = Config::load(loaded.path())?;
    Ok(Keys(changed_keys(loaded.text(), read.text())))
}

/// Whether `key` is one of `keys` or below one.
fn covers(keys: &[&str], key: &str) -> bool {
    keys.iter().any(|of| key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The keys whose values differ between two files that have been found right. A list is one value.
fn changed_keys(before: &str, after: &str) -> BTreeSet<String> {
    let table = |text: &str| text.parse::<Table>().unwrap_or_default();
    let mut changed = BTreeSet::new();
    compare(&table(before), &table(after), "", &mut changed);
    changed
}

fn compare(before: &Table, after: &Table, above: &str, changed: &mut BTreeSet<String>) {
    for key in before.keys().chain(after.keys()) {
        let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        let empty = Table::new();
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => compare(before, after, &name, changed),
            (Some(Value::Table(before)), None) => compare(before, &empty, &name, changed),
            (None, Some(Value::Table(after))) => compare(&empty, after, &name, changed),
            (before, after) if before != after => _ = changed.insert(name),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope = Scope { sections: &["proxy", "log"], live: &["proxy.target", "log.level"] };

    fn keys(keys: &[&str]) -> Keys {
        Keys(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn changes_are_named_by_their_keys_and_lists_are_one_value() {
        let before = "[a]\nx = 1\ny = 2\n[a.b]\nz = 3\n[[peers]]\nid = 1\n";
        for (after, expected) in [
            (before, vec![]),
            ("# other words\n[a]\ny = 2\nx=1\nb = { z = 3 }\n[[peers]]\nid = 1\n", vec![]),
            ("[a]\nx = 1\ny = 2\n[a.b]\nz = 4\n[[peers]]\nid = 1\n", vec!["a.b.z"]),
            ("[a]\nx = 1\n[[peers]]\nid = 1\n[[peers]]\nid = 2\n", vec!["a.b.z", "a.y", "peers"]),
            ("[c]\nd = \"new\"\n", vec!["a.b.z", "a.x", "a.y", "c.d", "peers"]),
        ] {
            assert_eq!(changed_keys(before, after), keys(&expected).0, "{after}");
        }
    }

    #[test]
    fn what_cannot_be_taken_over_is_told_until_it_is_so_again_or_the_daemon_starts_anew() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("config.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let first = "[proxy]\ntarget = \"unix:/a\"\nlisten = \"unix:/l\"\n[cluster]\ntoken_file = \"/t\"\n";
        write(first);
        let mut reloads = Reloads::new(SCOPE, Config::load(&file).unwrap());
        let mut read = |text: &str| {
            write(text);
            let (config, changes) = reloads.read().unwrap();
            reloads.adopt(config);
            changes
        };
        assert_eq!(read(first), Changes::default());
        let other = first.replace("unix:/a", "unix:/b").replace("unix:/l", "unix:/m").replace("/t", "/u");
        let both = Changes { live: keys(&["proxy.target"]), waiting: keys(&["proxy.listen"]) };
        assert_eq!(read(&other), both);
        assert!(both.live.touch("proxy") && both.live.touch("proxy.target") && !both.live.touch("proxy.tar"));
        // What was taken over is no news, what waits goes on waiting.
        assert_eq!(read(&other), Changes { live: keys(&[]), ..both.clone() });
        assert_eq!(read(first), Changes { waiting: keys(&[]), ..both });
    }

    #[test]
    fn whatever_differs_in_the_file_is_not_loaded_whomever_it_concerns() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("config.toml");
        std::fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
        let loaded = Config::load(&file).unwrap();
        assert!(not_loaded(&loaded).unwrap().is_empty());
        std::fs::write(&file, "[log]\nlevel = \"warn\"\n[node]\nid = \"alpha\"\n").unwrap();
        let keys = not_loaded(&loaded).unwrap();
        assert_eq!(keys.first(1), (vec!["log.level"], 1));
        assert_eq!(keys.first(2), (vec!["log.level", "node.id"], 0));
        std::fs::write(&file, "# The same, in other words.\nlog.level = \"info\"\n").unwrap();
        assert!(not_loaded(&loaded).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_wrong_or_gone_is_refused_with_its_line() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("config.toml");
        std::fs::write(&file, "[log]\n").unwrap();
        let reloads = Reloads::new(SCOPE, Config::load(&file).unwrap());
        std::fs::write(&file, "[log]\n\nlevel = \"shout\"\n").unwrap();
        assert!(reloads.read().unwrap_err().to_string().contains("config.toml:3: log.level: "));
        assert!(not_loaded(reloads.started()).is_err());
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(reloads.read(), Err(ConfigError::Unreadable { .. })));
    }
}
