//! systemd's place on a node's system bus: the calls that `rustbalance-watchdog` makes, carried out by the lab's
//! supervisor.
//!
//! It listens where every program looks for the system bus, so the watchdog needs no setting for it. There is no bus
//! between them: who connects speaks to the manager at once. Nor is there polkit, whose rule only a real machine shows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::net::{UnixListener, UnixStream};
use zbus::{Guid, ObjectPath, OwnedObjectPath};

use super::errand;
use super::error::{LabError, io as doing};
use super::place::Place;
use super::supervisor::Supervised;
use super::tor_network::make_private;

/// Where programs look for the system bus.
const BUS: &str = "/run/dbus/system_bus_socket";
/// The bus's own object, of which every program asks its name.
const BUS_OBJECT: &str = "/org/freedesktop/DBus";
/// systemd's object.
const MANAGER_OBJECT: &str = "/org/freedesktop/systemd1";
/// Nobody asks what became of a job, so all have the same name.
const JOB: &str = "/org/freedesktop/systemd1/job/1";

/// A node's units, as systemd calls them.
#[derive(Debug, Clone, Default)]
pub(super) struct Units {
    /// Those that remain.
    pub(super) remaining: BTreeMap<String, Supervised>,
    /// `Type=oneshot`: those that do something and end.
    pub(super) passing: BTreeMap<String, OneShot>,
}

/// A service that does something and ends.
#[derive(Debug, Clone)]
pub(super) struct OneShot {
    /// Where it runs.
    pub(super) place: Arc<Place>,
    /// The program.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
}

impl OneShot {
    async fn run(self, name: String) {
        let mut command = self.place.command(&self.program);
        command.args(&self.arguments);
        // Systemd does not tell whoever starts it how it ends, but whoever looks afterwards.
        let _ = errand::run(&name, command, b"").await;
    }
}

/// Serves a node's bus until the lab ends.
pub(super) fn serve(place: &Place, units: Units) -> Result<(), LabError> {
    let path = place.outside(Path::new(BUS));
    if let Some(directory) = path.parent() {
        make_private(directory)?;
    }
    let listener = UnixListener::bind(path).map_err(doing("binding a node's system bus"))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Manager { units: units.clone() }));
        }
    });
    Ok(())
}

/// One connection. What goes wrong with it is seen by who called.
async fn converse(stream: UnixStream, manager: Manager) -> zbus::Result<()> {
    let connection = zbus::connection::Builder::unix_stream(stream.into_std()?)
        .server(Guid::generate())
        .p2p()
        .serve_at(BUS_OBJECT, Bus)
        .serve_at(MANAGER_OBJECT, manager)
        .build()
        .await?;
    connection.closed().await;
    Ok(())
}

/// The bus itself.
struct Bus;

#[zbus::interface(name = "org.freedesktop.DBus")]
impl Bus {
    /// Everybody's first word; the answer is the caller's name.
    #[allow(clippy::unused_self)] // an object's method
    fn hello(&self) -> &'static str {
        ":1.1"
    }
}

/// Why a call was refused, in systemd's names.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum ManagerError {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
    NoSuchProcess(String),
}

/// systemd.
struct Manager {
    units: Units,
}

impl Manager {
    fn unit(&self, name: &str) -> Result<&Supervised, ManagerError> {
        self.units
            .remaining
            .get(name)
            .ok_or_else(|| ManagerError::NoSuchUnit(format!("Unit {name} not loaded.")))
    }
}

/// A job that was begun. Only what the watchdog says is understood.
fn job(mode: &str) -> Result<OwnedObjectPath, ManagerError> {
    if mode != "replace" {
        return Err(not_understood(mode));
    }
    Ok(ObjectPath::try_from(JOB)?.into())
}

fn not_understood(word: &str) -> ManagerError {
    zbus::Error::Failure(format!("the lab's systemd does not understand {word}")).into()
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn start_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath, ManagerError> {
        match self.units.passing.get(name) {
            Some(service) => _ = tokio::spawn(service.clone().run(name.to_owned())),
            None => self.unit(name)?.start().await,
        }
        job(mode)
    }

    async fn stop_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath, ManagerError> {
        self.unit(name)?.stop().await;
        job(mode)
    }

    async fn restart_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath, ManagerError> {
        self.unit(name)?.restart().await;
        job(mode)
    }

    async fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> Result<(), ManagerError> {
        let unit = self.unit(name)?;
        let signal = Signal::try_from(signal).map_err(|_| not_understood("that signal"))?;
        if whom != "all-fail" {
            return Err(not_understood(whom));
        }
        if unit.state().pid.is_none() {
            return Err(ManagerError::NoSuchProcess(format!("Unit {name} has no process.")));
        }
        unit.signal(signal).await;
        Ok(())
    }
}
