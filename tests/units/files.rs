//! The files as they are in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What is shipped.
pub fn shipped(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nixos/units").join(folder)
}

/// A unit: what it and its drop-ins say, in the order in which systemd reads them.
#[derive(Debug, Clone)]
pub struct Unit {
    pub name: String,
    settings: Vec<(String, String)>,
}

impl Unit {
    /// All values of a setting.
    pub fn values(&self, setting: &str) -> Vec<&str> {
        self.settings.iter().filter(|(name, _)| name == setting).map(|(_, value)| value.as_str()).collect()
    }

    /// All words of all values.
    pub fn words(&self, setting: &str) -> BTreeSet<&str> {
        self.values(setting).into_iter().flat_map(str::split_whitespace).collect()
    }

    /// The only value.
    pub fn value(&self, setting: &str) -> &str {
        let values = self.values(setting);
        assert_eq!(values.len(), 1, "{}: {setting}={values:?}", self.name);
        values[0]
    }
}

/// The services that are really run: the template is there twice.
pub const SERVICES: [&str; 7] = [
    "rustbalance-proxy.service",
    "rustbalance-coordinator.service",
    "rustbalance-publisher.service",
    "rustbalance-watchdog.service",
    "rustbalance-onion-key.service",
    "rustbalance-tor@a.service",
    "rustbalance-tor@b.service",
];

/// Every unit by its name, instances instead of the template.
pub fn units() -> BTreeMap<String, Unit> {
    let folder = shipped("system");
    let mut names: Vec<String> = names(&folder).into_iter().filter(|name| kind(name) != "d").collect();
    names.retain(|name| name != "rustbalance-tor@.service");
    names.extend(["a", "b"].map(|instance| format!("rustbalance-tor@{instance}.service")));
    names.into_iter().map(|name| (name.clone(), unit(&folder, &name))).collect()
}

/// What kind of unit a name is that of.
pub fn kind(name: &str) -> &str {
    name.rsplit('.').next().unwrap()
}

/// One unit.
fn unit(folder: &Path, name: &str) -> Unit {
    let instance = name.split_once('@').map(|(_, rest)| rest.split('.').next().unwrap());
    let template = instance.map_or(name.to_owned(), |instance| name.replace(&format!("@{instance}."), "@."));
    let mut settings = settings(&folder.join(&template));
    let common = if name.starts_with("rustbalance-") && kind(name) == "service" {
        "rustbalance-.service.d"
    } else {
        "none"
    };
    for drop_in in [common.to_owned(), format!("{name}.d")] {
        let drop_in = folder.join(drop_in);
        if drop_in.is_dir() {
            for file in names(&drop_in) {
                settings.extend(self::settings(&drop_in.join(file)));
            }
        }
    }
    for (_, value) in &mut settings {
        *value = value.replace("%i", instance.unwrap_or("%i"));
    }
    Unit { name: name.to_owned(), settings }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The settings of one file.
pub fn settings(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let text = text.replace("\\\n", "");
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{}: {line}", file.display()));
            (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The lines of a table such as `sysusers.d` has, in words. Quoted words are one.
pub fn table(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(shipped(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let quoted = line.split('"').enumerate();
            quoted
                .flat_map(|(place, part)| match place % 2 {
                    0 => part.split_whitespace().map(str::to_owned).collect(),
                    _ => vec![part.to_owned()],
                })
                .collect()
        })
        .collect()
}
