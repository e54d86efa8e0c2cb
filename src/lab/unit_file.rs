//! The unit files that nodes are shipped with (`nixos/units/system`): what of them a lab without systemd can follow.
//!
//! They are part of this program, so that the lab runs its daemons as systemd does, and none of both is changed alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::LabError;

/// A unit file.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnitFile {
    name: &'static str,
    text: &'static str,
}

/// Makes constants of unit files.
macro_rules! unit_files {
    ($($constant:ident = $name:literal;)*) => {
        $(pub(super) const $constant: UnitFile =
            UnitFile { name: $name, text: include_str!(concat!("../../nixos/units/system/", $name)) };)*
    };
}

unit_files! {
    PROXY = "rustbalance-proxy.service";
    PROXY_ONION = "rustbalance-proxy-onion.socket";
    PROXY_CONTROL = "rustbalance-proxy-control.socket";
    COORDINATOR = "rustbalance-coordinator.service";
    COORDINATOR_CONTROL = "rustbalance-coordinator.socket";
    PUBLISHER = "rustbalance-publisher.service";
    PUBLISHER_CONTROL = "rustbalance-publisher.socket";
    WATCHDOG = "rustbalance-watchdog.service";
    WATCHDOG_CONTROL = "rustbalance-watchdog.socket";
    WATCHDOG_WEB = "rustbalance-watchdog-web.socket";
    ONION_KEY = "rustbalance-onion-key.service";
    TOR = "rustbalance-tor@.service";
}

impl UnitFile {
    /// What systemd calls the unit.
    pub(super) fn name(self) -> &'static str {
        self.name
    }

    /// What systemd calls that instance of it, where the file is for several.
    pub(super) fn instance(self, which: &str) -> String {
        self.name.replace('@', &format!("@{which}"))
    }

    /// The value of a setting, which must be there once.
    pub(super) fn value(self, setting: &str) -> Result<&'static str, LabError> {
        let mut values = self.text.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(LabError::UnitFile { name: self.name, setting: setting.to_owned() }),
        }
    }

    /// A setting that is a time.
    pub(super) fn time(self, setting: &str) -> Result<Duration, LabError> {
        humantime::parse_duration(self.value(setting)?)
            .map_err(|_| LabError::UnitFile { name: self.name, setting: setting.to_owned() })
    }

    /// A setting that is a path.
    pub(super) fn path(self, setting: &str) -> Result<PathBuf, LabError> {
        self.value(setting).map(|value| Path::new(value).to_owned())
    }

    /// The program that the unit runs, by its name.
    pub(super) fn program(self) -> Result<&'static str, LabError> {
        let command = self.value("ExecStart")?;
        Ok(command.split(' ').next().unwrap_or(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_by_its_whole_name_and_only_where_it_is_one() {
        let file = UnitFile {
            name: "x.service",
            text: "[Unit]\n# Restart=no\nAfter=a\nAfter=b\n[Service]\nRestartSec=250ms\nWatchdogSec=1min 30s\n",
        };
        assert_eq!(file.time("RestartSec").unwrap(), Duration::from_millis(250));
        assert_eq!(file.time("WatchdogSec").unwrap(), Duration::from_secs(90));
        // Not there, there twice, no time.
        for setting in ["Restart", "After"] {
            assert!(file.value(setting).unwrap_err().to_string().contains(setting));
        }
    }
}
