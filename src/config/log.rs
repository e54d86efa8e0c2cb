//! `[log]`: how much is logged, and where to.

use serde::Deserialize;
use serde::de::{self, Deserializer};
use tracing_subscriber::filter::LevelFilter;

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or pairs such as `info,rustbalance::tor=debug`.
    #[serde(default = "Log::default_level", deserialize_with = "level")]
    pub level: String,
    /// Whether lines go to journald or to standard error; when absent, to journald if the service manager connected
    /// standard error to it.
    pub journal: Option<bool>,
}

impl Log {
    fn default_level() -> String {
        "info".to_owned()
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Self::default_level(), journal: None }
    }
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let level = String::deserialize(deserializer)?;
    if level.split(',').all(|part| is_directive(part.trim())) {
        Ok(level)
    } else {
        Err(de::Error::custom(format!(
            "{level:?} is no log level; expected error, warn, info, debug, trace, off, or target=level pairs"
        )))
    }
}

/// `tracing` takes any word for the name of a module, so that a mistyped level would silently log nothing.
fn is_directive(part: &str) -> bool {
    let is_level = |text: &str| text.parse::<LevelFilter>().is_ok() && !text.is_empty();
    let is_module = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    part.split_once('=')
        .map_or_else(|| is_level(part), |(module, level)| is_module(module) && is_level(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_pairs_but_no_mistyped_words() {
        for good in ["info", "off", "warn,rustbalance::tor=debug", "rustbalance=trace, info"] {
            assert!(good.split(',').all(|part| is_directive(part.trim())), "{good}");
        }
        for bad in ["", "inof", "info,", "=debug", "x=", "rustbalance::tor", "a b=info"] {
            assert!(!bad.split(',').all(|part| is_directive(part.trim())), "{bad}");
        }
    }
}
