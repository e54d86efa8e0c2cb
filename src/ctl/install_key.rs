//! `rustbalance install-key`: the onion's key for the tor that serves it, in memory.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
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
/// What stands in it before the address.
const MASTER_ADDRESS: &str = "MasterOnionAddress ";
/// Tor makes it itself, of the secret key.
const PUBLIC_KEY: &str = "hs_ed25519_public_key";
/// Tor's own note of the address that it serves from a directory.
const HOSTNAME: &str = "hostname";
/// The rights of all but the owner.
const OTHERS: u32 = 0o077;
/// Those that tor itself gives its directory, and its key in it.
const PRIVATE: (u32, u32) = (0o700, 0o600);
/// `RAMFS_MAGIC` of the kernel's `magic.h`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Which key, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance install-key /run/rustbalance/onion/a

The directory is tor's HiddenServiceDir. It must be in memory (a tmpfs mounted noswap, or a ramfs), and this must run as \
tor's user: what it makes is owned by whoever runs it. What is there already and right is left alone, so it may run again \
while tor serves. What is damaged is replaced, and what others could read is closed to them; what belongs to another \
address is left alone.")]
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
        let mut place = Place { directory, address, replaced: Vec::new(), closed: Vec::new() };
        place.make_sure_that_it_is_ours()?;
        place.close_to_others()?;
        // Before the key: a tor that has one without the other serves what nobody can use half of every day.
        place.install(OB_CONFIG, format!("{MASTER_ADDRESS}{address}\n").as_bytes())?;
        place.install(MASTER_KEY, &*key.to_tor_secret_key_file())?;
        place.remove_unless_equal(PUBLIC_KEY, &public_key_file(address))?;
        writeln!(out, "{}", Line("address", address))?;
        writeln!(out, "{}", Line("installed in", directory.display()))?;
        for name in place.replaced {
            writeln!(out, "{}", Line("replaced", format_args!("{name}, which was damaged")))?;
        }
        for path in place.closed {
            writeln!(out, "{}", Line("closed", format_args!("{}, which others could read", path.display())))?;
        }
        Ok(())
    }
}

/// tor's directory, and whose it is.
struct Place<'a> {
    directory: &'a Path,
    address: HsId,
    /// What was there and not as it must be.
    replaced: Vec<&'static str>,
    /// What others could read.
    closed: Vec<PathBuf>,
}

impl Place<'_> {
    /// Whatever says of which address it is says that it is of this one. What says nothing is damaged.
    fn make_sure_that_it_is_ours(&self) -> Result<(), CtlError> {
        for (name, address_of) in [
            (HOSTNAME, address_in_hostname as fn(&[u8]) -> Option<HsId>),
            (OB_CONFIG, address_in_config),
            (MASTER_KEY, address_of_key),
        ] {
            let file = self.directory.join(name);
            let there = read(&file)?.and_then(|content| address_of(&content));
            if there.is_some_and(|there| there != self.address) {
                return Err(InstallError::Occupied { file, configured: self.address }.into());
            }
        }
        Ok(())
    }

    /// Nobody but tor reads the key, as tor itself would have it.
    fn close_to_others(&mut self) -> Result<(), InstallError> {
        let key = self.directory.join(MASTER_KEY);
        for (path, private) in [(self.directory.to_owned(), PRIVATE.0), (key, PRIVATE.1)] {
            let failed = |source| InstallError::Open { path: path.clone(), source };
            let mode = match fs::metadata(&path) {
                Ok(found) => found.permissions().mode(),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            if mode & OTHERS != 0 {
                fs::set_permissions(&path, fs::Permissions::from_mode(private)).map_err(failed)?;
                self.closed.push(path);
            }
        }
        Ok(())
    }

    /// Makes a file, or puts one right that is there.
    fn install(&mut self, name: &'static str, content: &[u8]) -> Result<(), CtlError> {
        let file = self.directory.join(name);
        match read(&file)? {
            Some(there) if *there == content => {}
            Some(_) => {
                files::replace(&file, content)?;
                self.replaced.push(name);
            }
            None => files::make_file(&file, content)?,
        }
        Ok(())
    }

    /// Removes a file that tor makes itself, unless it is right: tor does not start with one that does not fit the key.
    fn remove_unless_equal(&mut self, name: &'static str, content: &[u8]) -> Result<(), CtlError> {
        let file = self.directory.join(name);
        if read(&file)?.is_some_and(|there| *there != content) {
            fs::remove_file(&file).map_err(|source| FilesError::Replace { path: file, source })?;
            self.replaced.push(name);
        }
        Ok(())
    }
}

fn address_in_hostname(text: &[u8]) -> Option<HsId> {
    HsId::from_address(str::from_utf8(text).ok()?.trim()).ok()
}

fn address_in_config(text: &[u8]) -> Option<HsId> {
    address_in_hostname(text.strip_prefix(MASTER_ADDRESS.as_bytes())?)
}

fn address_of_key(file: &[u8]) -> Option<HsId> {
    HsIdKeypair::from_tor_secret_key_file(file).ok().map(|key| key.hs_id())
}

/// The public key, as tor writes it beside the secret one (`tagged_from_file`: 32 bytes of a heading, then the key).
fn public_key_file(address: HsId) -> Vec<u8> {
    let mut file = b"== ed25519v1-public: type0 ==".to_vec();
    file.resize(32, 0);
    file.extend_from_slice(&address.0);
    file
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

/// What a file holds; `None` if it is not there.
fn read(file: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FilesError> {
    match fs::read(file) {
        Ok(content) => Ok(Some(Zeroizing::new(content))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FilesError::Make { path: file.to_owned(), source }),
    }
}
