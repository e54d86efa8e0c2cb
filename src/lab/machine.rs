//! A machine that is or becomes a node: its namespaces, its cables, its disk, and an operator who is logged in there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cluster::{ClusterPlan, Member};
use super::errand;
use super::error::{LabError, io as doing};
use super::ground::Ground;
use super::name::Name;
use super::namespaces::{self, STATE};
use super::node_files::NodeFiles;
use super::place::Place;
use super::tor_network::make_private;
use super::torrc::EXPORT_CIRCUITS;

/// Each directory of a machine's disk, as `tmpfs` takes it: ten times what a node writes there in an hour.
const DISK: &str = "24m";
/// What a full disk is full of.
const FILLING: &str = "filling";

/// A machine. What runs on it is a node's.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its name.
    pub(super) name: Name,
    /// Its namespaces.
    pub(super) place: Arc<Place>,
    /// Where its files are.
    pub(super) files: NodeFiles,
}

impl Machine {
    /// A new machine, plugged into both bridges, with empty directories.
    pub(super) async fn open(ground: &Ground, name: Name) -> Result<Self, LabError> {
        let run = Path::new(STATE).join("nodes").join(name.to_string());
        make_private(&run)?;
        let files = NodeFiles::default();
        for directory in files.on_disk() {
            let directory = run.join(directory.strip_prefix("/run").unwrap_or(&directory));
            make_private(&directory)?;
            namespaces::mount_disk(&directory, DISK).map_err(doing("mounting a machine's disk"))?;
        }
        let place = Arc::new(Place::open(&run).await?);
        ground.wires.plug(name.number, &place).await?;
        let service = files.service();
        let directories = [&files.ipc, &files.keys, &files.state, &service, Path::new("/run/wireguard")];
        for directory in directories.into_iter().chain(files.tor_sockets().iter().map(PathBuf::as_path)) {
            make_private(&place.outside(directory))?;
        }
        Ok(Self { name, place, files })
    }

    /// Puts keys and configuration there, as an operator does who sets up every node by hand.
    pub(super) fn configure(&self, plan: &ClusterPlan, member: &Member) -> Result<(), LabError> {
        let files = &self.files;
        self.write(&files.master_key(), plan.master_key.as_slice())?;
        self.write(&files.token(), plan.token.as_bytes())?;
        self.write(&files.join_secret(), plan.join_secret.to_text().as_bytes())?;
        self.write(&files.wireguard_key(), member.key.to_base64().as_bytes())?;
        self.write(&files.configuration(), plan.configuration(member, files).as_bytes())?;
        // A node that is configured by hand has joined.
        self.write(&files.joined(), b"")
    }

    /// Changes in a configuration that `rustbalance join` has written what is different in the lab: where the coordinator
    /// remembers, since only `/run` is the machine's own, and where logs go.
    pub(super) fn adapt(&self, verbose: bool) -> Result<(), LabError> {
        let path = self.files.configuration();
        let mut text = fs::read_to_string(self.outside(&path)).map_err(doing("reading a configuration"))?;
        let level = if verbose { "debug" } else { "info" };
        for (section, lines) in [
            ("[cluster]\n", format!("state_directory = \"{}\"\n", self.files.state.display())),
            ("[log]\n", format!("level = \"{level}\"\njournal = false\n")),
        ] {
            if !text.contains(section) {
                return Err(LabError::File { path, what: "a configuration with [cluster] and [log]" });
            }
            text = text.replacen(section, &format!("{section}{lines}"), 1);
        }
        self.write(&path, text.as_bytes())
    }

    /// Names another target in its configuration, and HTTP as what is carried there, with more lines; without one, everything
    /// is as before.
    pub(super) fn aim(&self, target: Option<&str>, more: &str) -> Result<(), LabError> {
        let path = self.files.configuration();
        let kept = self.outside(&path).with_extension("before");
        let before = |file: &Path| fs::read_to_string(file).map_err(doing("reading a configuration"));
        let Some(target) = target else {
            let text = before(&kept)?;
            return self.write(&path, text.as_bytes());
        };
        let text = before(&self.outside(&path))?;
        fs::write(&kept, &text).map_err(doing("keeping a configuration"))?;
        let line = text.lines().find(|line| line.starts_with("target = "));
        let line =
            line.ok_or(LabError::File { path: path.clone(), what: "a configuration with a target" })?;
        let text = text.replacen(line, &format!("target = \"{target}\"\nmode = \"http\"\n{more}"), 1);
        self.write(&path, text.as_bytes())
    }

    /// Writes these limits into its configuration, and into its serving tor's what they need; without them, everything is as
    /// before.
    pub(super) fn limit_circuits(&self, limits: Option<&str>) -> Result<(), LabError> {
        let section = limits.map(|limits| format!("\n[proxy.circuits]\n{limits}"));
        let export = limits.map(|_| EXPORT_CIRCUITS.to_owned());
        let torrc = self.files.tor_a.join("torrc");
        for (path, more) in [(self.files.configuration(), section), (torrc, export)] {
            let kept = self.outside(&path).with_extension("unlimited");
            let from = if more.is_some() { self.outside(&path) } else { kept.clone() };
            let text = fs::read_to_string(from).map_err(doing("reading a node's files"))?;
            if more.is_some() {
                fs::write(&kept, &text).map_err(doing("keeping a node's files"))?;
            }
            self.write(&path, (text + &more.unwrap_or_default()).as_bytes())?;
        }
        Ok(())
    }

    /// Writes until its disk is full.
    pub(super) fn fill_disk(&self) -> Result<(), LabError> {
        let fill = |directory: &Path| {
            let mut file = fs::File::create(self.outside(&directory.join(FILLING)))?;
            loop {
                match file.write_all(&[0; 4096]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        self.files.on_disk().iter().try_for_each(|directory| fill(directory)).map_err(doing("filling a disk"))
    }

    /// Makes room again.
    pub(super) fn empty_disk(&self) -> Result<(), LabError> {
        let mut all = self.files.on_disk().into_iter();
        all.try_for_each(|directory| fs::remove_file(self.outside(&directory.join(FILLING))))
            .map_err(doing("emptying a disk"))
    }

    /// Writes a file that only its owner reads.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<(), LabError> {
        let mut options = fs::File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(self.outside(path));
        file.and_then(|mut file| file.write_all(content)).map_err(doing("writing a node's files"))
    }

    /// A file of the machine, as the lab sees it.
    pub(super) fn outside(&self, path: &Path) -> PathBuf {
        self.place.outside(path)
    }

    /// Runs the operator's tool there; what it answers.
    pub(super) async fn operate(
        &self,
        ground: &Ground,
        words: &[&str],
        input: &[u8],
    ) -> Result<String, LabError> {
        let mut command = self.place.command(&ground.programs.join("rustbalance"));
        command.args(words);
        errand::run(&format!("rustbalance {} on {}", words.join(" "), self.name), command, input).await
    }
}
