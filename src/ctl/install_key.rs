//! `rustbalance install-key`: the onion's key for the tor that serves it, in memory.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::config::file::{Config, DEFAULT_PATH};
use crate::config::secret::Secret;
use crate::ctl::answer::Line;
use crate::ctl::error::CtlError;
use crate::ctl::files::{self, FilesError};
use crate::ctl::input::InputError;
use crate::ctl::install_error::InstallError;
use crate::ctl::node_files::MASTER_KEY;
use crate::ctl::passphrase::passphrase_of_node;
use crate::proto::onion::address::HsId;
use crate::proto::onion::identity::HsIdKeypair;
use crate::vault::opener::Opener;

/// What makes tor a balancer, and of which address.
const OB_CONFIG: &str = "ob_config";
/// Tor's own note of the address that it serves from a directory.
const HOSTNAME: &str = "hostname";
/// `RAMFS_MAGIC` of the kernel's `magic.h`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Which key, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance install-key /run/rustbalance/onion/a

The directory is tor's HiddenServiceDir. It must be in memory (a tmpfs mounted noswap, or a ramfs), and this must run as \
tor's user: what it makes is owned by whoever runs it. What is there already and right is left alone, so it may run again \
while tor serves.")]
pub struct Arguments {
    /// The directory
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// The configuration, which says which address it must be
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// The key [default: the one that the configuration names]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Arguments {
    /// Installs the key, and what makes tor a balancer of its own address.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let directory = &self.directory;
        require_memory(directory)?;
        let config = Config::load(&self.config)?;
        let service = config.service("rustbalance install-key")?;
        let source = self.key.clone().map_or_else(|| service.master_key_file.clone(), Secret::in_file);
        let opener = Opener::new(|| passphrase_of_node(&config.vault).map_err(|error| error.to_string()));
        let bytes = source.read(&|secret| opener.open(secret).map_err(|error| error.to_string()))?;
        let key = HsIdKeypair::from_any_form(bytes.expose_secret())
            .map_err(|reason| InputError::Key { path: source.to_string().into(), source: reason })?;
        let address = key.hs_id();
        if address != service.address {
            return Err(InstallError::OtherAddress { found: address, configured: service.address }.into());
        }
        let hostname = directory.join(HOSTNAME);
        if read(&hostname)?.is_some_and(|text| !is_line(&text, &address.to_string())) {
            return Err(InstallError::Occupied { file: hostname, configured: address }.into());
        }
        // Before the key: a tor that has one without the other serves what nobody can use half of every day.
        install(directory, OB_CONFIG, format!("MasterOnionAddress {address}\n").as_bytes(), address)?;
        install(directory, MASTER_KEY, &*key.to_tor_secret_key_file(), address)?;
        writeln!(out, "{}", Line("address", address))?;
        writeln!(out, "{}", Line("installed in", directory.display()))?;
        Ok(())
    }
}

/// Makes sure that what is written there never reaches a disk. Whether a tmpfs is swapped only its mount can say.
fn require_memory(directory: &Path) -> Result<(), InstallError> {
    let found = statfs(directory)
        .map_err(|error| InstallError::Directory { directory: directory.to_owned(), source: error.into() })?;
    match found.filesystem_type() {
        TMPFS_MAGIC | RAMFS_MAGIC => Ok(()),
        _ => Err(InstallError::OnDisk { directory: directory.to_owned() }),
    }
}

/// Makes a file; one that is there must be the same.
fn install(directory: &Path, name: &str, content: &[u8], configured: HsId) -> Result<(), CtlError> {
    let file = directory.join(name);
    match read(&file)? {
        Some(there) if *there == content => Ok(()),
        Some(_) => Err(InstallError::Occupied { file, configured }.into()),
        None => Ok(files::make_file(&file, content)?),
    }
}

/// What a file holds; `None` if it is not there.
fn read(file: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FilesError> {
    match fs::read(file) {
        Ok(content) => Ok(Some(Zeroizing::new(content))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FilesError::Make { path: file.to_owned(), source }),
    }
}

/// Whether a text is this line.
fn is_line(text: &[u8], line: &str) -> bool {
    text.strip_suffix(b"\n").unwrap_or(text) == line.as_bytes()
}
