//! `[ipc]`: the control sockets between the daemons, and who may use them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::endpoint::absolute_path;

/// `[ipc]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipc {
    /// Where the control sockets are.
    #[serde(default = "Ipc::default_directory", deserialize_with = "absolute_path")]
    pub directory: PathBuf,
    /// Users who may talk to the daemons, by name or number, besides root, the daemon's own user, and the users of those
    /// daemons that need it.
    #[serde(default)]
    pub allowed_users: Vec<User>,
}

/// A user, by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A number.
    Uid(u32),
    /// A name, looked up when a daemon starts: the file may be checked on another machine.
    Name(String),
}

/// A user name that this machine does not know.
#[derive(Debug, thiserror::Error)]
#[error("ipc.allowed_users: there is no user {name:?} on this machine; create it or remove it from the list")]
pub struct UnknownUser {
    name: String,
}

/// The user of `rustbalance-proxy`, as `sysusers.d` makes it.
pub const PROXY_USER: &str = "rustbalance-proxy";
/// The user of `rustbalance-coordinator`.
pub const COORDINATOR_USER: &str = "rustbalance-coordinator";
/// The user of `rustbalance-watchdog`.
pub const WATCHDOG_USER: &str = "rustbalance-watchdog";

impl Ipc {
    fn default_directory() -> PathBuf {
        Path::new("/run/rustbalance").to_owned()
    }

    /// The publisher's control socket.
    pub fn publisher_socket(&self) -> PathBuf {
        self.directory.join("publisher.sock")
    }

    /// The coordinator's control socket.
    pub fn coordinator_socket(&self) -> PathBuf {
        self.directory.join("coordinator.sock")
    }

    /// The proxy's control socket.
    pub fn proxy_socket(&self) -> PathBuf {
        self.directory.join("proxy.sock")
    }

    /// The watchdog's control socket.
    pub fn watchdog_socket(&self) -> PathBuf {
        self.directory.join("watchdog.sock")
    }

    /// Where the watchdog serves metrics and its page.
    pub fn web_socket(&self) -> PathBuf {
        self.directory.join("web.sock")
    }

    /// User numbers that may talk to this daemon: root, the daemon's own user, the user of the daemon that calls this one
    /// and the watchdog's, which asks everyone, where this machine has them (all may run as one), and the configured ones.
    pub fn allowed_uids(&self, caller: &str) -> Result<BTreeSet<u32>, UnknownUser> {
        let own = nix::unistd::geteuid().as_raw();
        let mut uids = BTreeSet::from([0, own]);
        uids.extend([caller, WATCHDOG_USER].into_iter().filter_map(uid_of));
        for user in &self.allowed_users {
            uids.insert(match user {
                User::Uid(uid) => *uid,
                User::Name(name) => uid_of(name).ok_or_else(|| UnknownUser { name: name.clone() })?,
            });
        }
        Ok(uids)
    }
}

/// The number of a user that this machine knows.
fn uid_of(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

impl Default for Ipc {
    fn default() -> Self {
        Self { directory: Self::default_directory(), allowed_users: Vec::new() }
    }
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl Visitor<'_> for NameOrNumber {
            type Value = User;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a user name or number")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<User, E> {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
                if (1..=32).contains(&name.len()) && name.chars().all(plain) {
                    Ok(User::Name(name.to_owned()))
                } else {
                    Err(E::custom(format!("{name:?} is no user name")))
                }
            }

            fn visit_i64<E: de::Error>(self, uid: i64) -> Result<User, E> {
                // The largest number means "no user" to the kernel.
                match u32::try_from(uid) {
                    Ok(uid) if uid != u32::MAX => Ok(User::Uid(uid)),
                    _ => Err(E::custom(format!("{uid} is no user number"))),
                }
            }
        }
        deserializer.deserialize_any(NameOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_that_calls_may_where_it_has_a_user() {
        // Every machine has this user, and it is neither root nor the one that runs tests.
        let daemon = uid_of("daemon").unwrap();
        let ipc = Ipc::default();
        assert!(ipc.allowed_uids("daemon").unwrap().contains(&daemon));
        assert!(!ipc.allowed_uids("no-such-user").unwrap().contains(&daemon));
    }

    #[test]
    fn root_and_the_own_user_are_always_allowed_and_names_are_looked_up() {
        let ipc = Ipc { allowed_users: vec![User::Uid(4711), User::Name("root".into())], ..Ipc::default() };
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(ipc.allowed_uids("no-such-user").unwrap(), BTreeSet::from([0, own, 4711]));
        let unknown = Ipc { allowed_users: vec![User::Name("no-such-user".into())], ..Ipc::default() };
        assert!(unknown.allowed_uids("root").unwrap_err().to_string().contains("no-such-user"));
    }
}
