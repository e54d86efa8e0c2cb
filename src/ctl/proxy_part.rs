//! The part of `[proxy]` that all nodes of a cluster share: where connections are carried to, and how. An invitation has
//! it, so that a new node does with clients what the others do.

use toml::{Table, Value};

/// The section.
const SECTION: &str = "proxy";
/// What is about one machine: its socket, its files, its memory, and what goes with a line in its torrc: a node that expects
/// tor's word about circuits, and does not get it, refuses everybody.
const OWN: [&str; 5] = ["listen", "roots", "error_page", "max_connections", "circuits"];
/// What goes with a target that is replaced by another one.
const OF_THE_TARGET: [&str; 7] =
    ["target", "targets", "host", "verify", "pins", "probe_path", "probe_status"];
/// How a configuration shows a key that it does not set: its default, or what it could be.
const SHOWN: [&str; 2] = ["# ", "# for example: "];

/// What nodes carry, and where to, as keys of `[proxy]`. Nothing says yet that it is usable.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyPart(Table);

impl ProxyPart {
    /// One target, and nothing else said.
    pub fn to(target: &str) -> Self {
        Self(Table::from_iter([("target".to_owned(), Value::from(target))]))
    }

    /// That of a configuration; and the names of the keys that are its node's own files, which another node lacks.
    pub fn of(mut configuration: Table) -> (Self, Vec<&'static str>) {
        let Some(Value::Table(mut part)) = configuration.remove(SECTION) else {
            return (Self(Table::new()), Vec::new());
        };
        let mut files = remove_own(&mut part);
        for target in part.get_mut("targets").and_then(Value::as_array_mut).into_iter().flatten() {
            files.extend(target.as_table_mut().map(remove_own).unwrap_or_default());
        }
        files.sort_unstable();
        files.dedup();
        (Self(part), files)
    }

    /// Reads what [`Self::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        text.parse().map(Self)
    }

    /// It as TOML, without the section's name.
    pub fn to_text(&self) -> String {
        self.0.to_string()
    }

    /// Everything as it is, but carried to this target instead.
    #[must_use]
    pub fn aimed_at(mut self, target: &str) -> Self {
        for key in OF_THE_TARGET {
            self.0.remove(key);
        }
        self.0.insert("target".to_owned(), Value::from(target));
        self
    }

    /// The addresses of the targets, as configurations write them.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        let several = self.0.get("targets").and_then(Value::as_array).into_iter().flatten();
        let several = several.filter_map(|target| target.get("address")?.as_str());
        self.0.get("target").and_then(Value::as_str).into_iter().chain(several)
    }

    /// Whether it says which certificates are accepted.
    pub fn verifies(&self) -> bool {
        self.0.contains_key("verify") || self.0.contains_key("targets")
    }

    /// Its lines that say where connections are carried to.
    pub fn target_line(&self) -> String {
        let line = |key: &str| self.0.get(key).map(|value| format!("{key} = {value}\n"));
        line("target").or_else(|| line("targets")).unwrap_or_default()
    }

    /// The other keys of the section, of which `shown` shows how they could be, as they are here.
    pub fn lines(&self, shown: &str) -> String {
        let mut text = shown.to_owned();
        let others = self.0.iter().filter(|(key, _)| !["target", "targets"].contains(&key.as_str()));
        for (key, value) in others {
            let line = format!("{key} = {value}");
            let old =
                text.lines().find(|old| SHOWN.iter().any(|mark| old.starts_with(&format!("{mark}{key} = "))));
            match old.map(str::to_owned) {
                Some(old) => text = text.replacen(&format!("{old}\n"), &format!("{line}\n"), 1),
                None => text.insert_str(0, &format!("{line}\n")),
            }
        }
        text
    }
}

/// Removes what is a machine's own; the names of those that lead to files.
fn remove_own(table: &mut Table) -> Vec<&'static str> {
    let files = ["roots", "error_page"];
    OWN.into_iter().filter(|key| table.remove(*key).is_some() && files.contains(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "# How.\n# mode = \"tcp\"\n# for example: host = \"www.example.org\"\n";

    #[test]
    fn what_is_one_machines_own_stays_there() {
        let text = "[log]\n[proxy]\nlisten = \"unix:/run/x\"\nmode = \"http\"\nerror_page = \"/etc/x\"\n\
                    max_connections = 7\ncircuits = { burst = 9 }\n[[proxy.targets]]\naddress = \"https://127.0.0.1:1\"\nroots = \"/etc/r\"\n\
                    verify = \"webpki\"\n[[proxy.targets]]\naddress = \"unix:/run/y\"\nweight = 2\n";
        let (part, files) = ProxyPart::of(text.parse().unwrap());
        assert_eq!(files, ["error_page", "roots"]);
        assert_eq!(part.targets().collect::<Vec<_>>(), ["https://127.0.0.1:1", "unix:/run/y"]);
        assert_eq!(ProxyPart::parse(&part.to_text()).unwrap(), part);
        let expected = "targets = [{ address = \"https://127.0.0.1:1\", verify = \"webpki\" }, \
                        { address = \"unix:/run/y\", weight = 2 }]\n";
        assert_eq!(part.target_line(), expected);
        assert_eq!(part.lines(SHOWN), SHOWN.replace("# mode = \"tcp\"", "mode = \"http\""));
        let nothing = ProxyPart::of("[node]\n".parse().unwrap());
        assert_eq!((nothing.0.targets().count(), nothing.1.len()), (0, 0));
    }

    #[test]
    fn another_target_takes_along_what_was_said_of_the_one_before() {
        let text = "mode = \"http\"\nverify = \"onion\"\nhost = \"a\"\nprobe_path = \"/b\"\ntarget = \"https://x\"\n";
        let part = ProxyPart::parse(text).unwrap();
        assert!(part.verifies());
        let lines = "verify = \"onion\"\nprobe_path = \"/b\"\n# How.\nmode = \"http\"\nhost = \"a\"\n";
        assert_eq!(part.lines(SHOWN), lines);
        let other = part.aimed_at("unix:/y");
        assert!(!other.verifies());
        assert_eq!(other.to_text(), "mode = \"http\"\ntarget = \"unix:/y\"\n");
        assert_eq!(ProxyPart::to("unix:/y").lines(SHOWN), SHOWN);
    }
}
