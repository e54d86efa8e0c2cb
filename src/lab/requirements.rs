//! What the lab needs from this machine, and how to get it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The oldest tor whose control port and introduction points behave as rustbalance was measured with.
const OLDEST_TOR: (u16, u16, u16) = (0, 4, 9);

/// Our own daemons and the operator's tool, which stand beside this program.
const PROGRAMS: [&str; 5] = [
    "rustbalance-proxy",
    "rustbalance-coordinator",
    "rustbalance-publisher",
    "rustbalance-watchdog",
    "rustbalance",
];

/// What a Tor network is made with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TorTools {
    /// C tor.
    pub(super) tor: PathBuf,
    /// Makes the keys of directory authorities.
    pub(super) tor_gencert: PathBuf,
}

/// The programs that a lab with nodes starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tools {
    /// For its Tor network.
    pub(super) tor: TorTools,
    /// iproute2.
    pub(super) ip: PathBuf,
    /// nftables.
    pub(super) nft: PathBuf,
    /// The directory of our own programs.
    pub(super) programs: PathBuf,
}

/// Something is missing. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequirementError {
    /// A program is not in `PATH`.
    #[error(
        "`{name}` is not in PATH; install it (Debian: apt install {package}; NixOS: nix shell nixpkgs#{nix})"
    )]
    Missing {
        /// The program.
        name: &'static str,
        /// Debian's package.
        package: &'static str,
        /// The attribute in nixpkgs.
        nix: &'static str,
    },
    /// `tor --version` says something unexpected or nothing at all.
    #[error("`{} --version` does not say which tor it is; the lab needs C tor 0.4.9 or newer", path.display())]
    NotTor {
        /// The program that was asked.
        path: PathBuf,
    },
    /// Too old a tor.
    #[error(
        "{} is tor {found}, but the lab needs 0.4.9 or newer; \
         install one (Debian: the repository deb.torproject.org; NixOS: nix shell nixpkgs#tor)",
        path.display()
    )]
    OldTor {
        /// The program that was asked.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// Our own programs were not built.
    #[error("{name} is not in {}, where rustbalance-lab is; build all of it: cargo build --release", directory.display())]
    NotBuilt {
        /// The program.
        name: &'static str,
        /// Where it should be.
        directory: PathBuf,
    },
    /// No tun device.
    #[error(
        "/dev/net/tun cannot be opened ({source}); WireGuard in a process needs it \
         (modprobe tun; in a container: --device /dev/net/tun)"
    )]
    NoTun {
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl TorTools {
    /// Finds both, and checks that the tor is one that can be used.
    pub(super) fn find() -> Result<Self, RequirementError> {
        let tor = program("tor", "tor", "tor")?;
        check_tor(&tor)?;
        Ok(Self { tor, tor_gencert: program("tor-gencert", "tor", "tor")? })
    }
}

impl Tools {
    /// Finds every program and checks what can be checked from outside the namespaces.
    pub(super) fn find() -> Result<Self, RequirementError> {
        let tools = Self {
            tor: TorTools::find()?,
            ip: program("ip", "iproute2", "iproute2")?,
            nft: program("nft", "nftables", "nftables")?,
            programs: programs()?,
        };
        check_wireguard()?;
        Ok(tools)
    }
}

/// Where this program is, if the others are there too.
fn programs() -> Result<PathBuf, RequirementError> {
    let own = std::env::current_exe().unwrap_or_default();
    let directory = own.parent().map(Path::to_owned).unwrap_or_default();
    for name in PROGRAMS {
        if !directory.join(name).is_file() {
            return Err(RequirementError::NotBuilt { name, directory });
        }
    }
    Ok(directory)
}

/// WireGuard runs in the kernel, or in a process that has a tun device.
fn check_wireguard() -> Result<(), RequirementError> {
    if Path::new("/sys/module/wireguard").exists() {
        return Ok(());
    }
    let tun = std::fs::File::options().read(true).write(true).open("/dev/net/tun");
    tun.map(drop).map_err(|source| RequirementError::NoTun { source })
}

/// Looks for a program in `PATH`. The answer has no symbolic link in it, since `/run`, where NixOS has some,
/// is another one in the lab.
fn program(
    name: &'static str,
    package: &'static str,
    nix: &'static str,
) -> Result<PathBuf, RequirementError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let executable = |file: &Path| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .filter(|file| file.is_file() && executable(file))
        .find_map(|file| file.canonicalize().ok())
        .ok_or(RequirementError::Missing { name, package, nix })
}

fn check_tor(path: &Path) -> Result<(), RequirementError> {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let (found, number) = version(&text).ok_or_else(|| RequirementError::NotTor { path: path.to_owned() })?;
    if number < OLDEST_TOR {
        return Err(RequirementError::OldTor { path: path.to_owned(), found: found.to_owned() });
    }
    Ok(())
}

/// `Tor version 0.4.9.11 (git-…).` → the text of the version and its first three numbers.
fn version(text: &str) -> Option<(&str, (u16, u16, u16))> {
    let word = text.strip_prefix("Tor version ")?.split_whitespace().next()?.trim_end_matches('.');
    let mut numbers = word.split(['.', '-']).map(|part| part.parse().ok());
    Some((word, (numbers.next()??, numbers.next()??, numbers.next()??)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        let read = |text| version(text).map(|(word, number)| (word, number >= OLDEST_TOR));
        assert_eq!(read("Tor version 0.4.9.11.\nThis build …"), Some(("0.4.9.11", true)));
        assert_eq!(read("Tor version 0.4.8.21.\n"), Some(("0.4.8.21", false)));
        assert_eq!(read("Tor version 0.4.10.1-alpha (git-1234567890)."), Some(("0.4.10.1-alpha", true)));
        assert_eq!(read("Tor version unknown"), None);
        assert_eq!(read("tor 1.0"), None);
        assert_eq!(read(""), None);
    }
}
