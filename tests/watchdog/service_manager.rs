//! A bus with systemd on it, as far as the watchdog calls it: it notes what it is asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::{UnixListener, UnixStream};
use zbus::{Guid, ObjectPath, OwnedObjectPath, fdo};

/// Where units are on the bus.
const UNITS: &str = "/org/freedesktop/systemd1/unit";
/// How much memory the proxy may use.
pub(crate) const MEMORY_MAX: u64 = 256 << 20;

/// What happens when a unit is asked for something.
type Effect = Box<dyn Fn(&str) + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct ServiceManager {
    calls: Arc<Mutex<Vec<(Instant, String)>>>,
    effects: Arc<Mutex<BTreeMap<String, Effect>>>,
    refuses: Arc<Mutex<bool>>,
    /// What the proxy's processes use, in bytes.
    memory: Arc<AtomicU64>,
    /// How the installation of the onion's key went.
    key: Arc<AtomicBool>,
}

impl ServiceManager {
    /// Listens at a path from now on.
    pub(crate) fn start(path: &Path) -> Self {
        let manager = Self::default();
        let listener = UnixListener::bind(path).unwrap();
        let serving = manager.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        manager
    }

    async fn serve(self, stream: UnixStream) {
        let connection = zbus::connection::Builder::unix_stream(stream.into_std().unwrap())
            .server(Guid::generate())
            .p2p()
            .serve_at("/org/freedesktop/DBus", Bus)
            .serve_at("/org/freedesktop/systemd1", self.clone())
            .serve_at(format!("{UNITS}/proxy"), Service { memory: Arc::clone(&self.memory) })
            .serve_at(format!("{UNITS}/key"), KeyUnit { failed: Arc::clone(&self.key) })
            .build()
            .await;
        // Kept until the test ends; each remedy has a connection of its own.
        if let Ok(connection) = connection {
            connection.closed().await;
        }
    }

    /// What a call is to do to the rest of the test's world: `KillUnit rustbalance-tor@a.service`.
    pub(crate) fn on(&self, call: &str, effect: impl Fn(&str) + Send + Sync + 'static) {
        self.effects.lock().unwrap().insert(call.to_owned(), Box::new(effect));
    }

    /// From now on it says no, as polkit does.
    pub(crate) fn refuse(&self) {
        *self.refuses.lock().unwrap() = true;
    }

    /// From now on the onion's key could not be installed when that was tried last, or could.
    pub(crate) fn fail_key(&self, failed: bool) {
        self.key.store(failed, Ordering::SeqCst);
    }

    /// The proxy uses so much memory from now on, of [`MEMORY_MAX`]. Of tors and other daemons no unit is loaded.
    pub(crate) fn set_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::SeqCst);
    }

    /// All calls, in order.
    pub(crate) fn calls(&self) -> Vec<(Instant, String)> {
        self.calls.lock().unwrap().clone()
    }

    fn note(&self, method: &str, unit: &str) -> fdo::Result<()> {
        let call = format!("{method} {unit}");
        self.calls.lock().unwrap().push((Instant::now(), call.clone()));
        if *self.refuses.lock().unwrap() {
            return Err(fdo::Error::AccessDenied("Permission denied".to_owned()));
        }
        if let Some(effect) = self.effects.lock().unwrap().get(&call) {
            effect(&call);
        }
        Ok(())
    }

    fn job(&self, method: &str, unit: &str, mode: &str) -> fdo::Result<OwnedObjectPath> {
        assert_eq!(mode, "replace");
        self.note(method, unit)?;
        Ok(ObjectPath::try_from("/org/freedesktop/systemd1/job/1").unwrap().into())
    }
}

/// The bus itself.
struct Bus;

#[zbus::interface(name = "org.freedesktop.DBus")]
impl Bus {
    #[allow(clippy::unused_self)]
    fn hello(&self) -> String {
        ":1.1".to_owned()
    }
}

/// The proxy's unit.
struct Service {
    memory: Arc<AtomicU64>,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn memory_current(&self) -> u64 {
        self.memory.load(Ordering::SeqCst)
    }

    #[zbus(property)]
    #[allow(clippy::unused_self)]
    fn memory_max(&self) -> u64 {
        MEMORY_MAX
    }
}

/// The unit that installs the onion's key.
struct KeyUnit {
    failed: Arc<AtomicBool>,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl KeyUnit {
    #[zbus(property)]
    fn active_state(&self) -> String {
        if self.failed.load(Ordering::SeqCst) { "failed" } else { "inactive" }.to_owned()
    }
}

/// Why there is nothing to be told of a unit, in systemd's name.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum UnitError {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl ServiceManager {
    #[allow(clippy::needless_pass_by_value, clippy::unused_self)]
    fn get_unit(&self, unit: String) -> Result<OwnedObjectPath, UnitError> {
        let loaded = match unit.as_str() {
            "rustbalance-proxy.service" => "proxy",
            "rustbalance-onion-key.service" => "key",
            _ => return Err(UnitError::NoSuchUnit(format!("Unit {unit} not loaded."))),
        };
        Ok(ObjectPath::try_from(format!("{UNITS}/{loaded}")).unwrap().into())
    }

    #[allow(clippy::needless_pass_by_value)]
    fn kill_unit(&self, unit: String, whom: String, signal: i32) -> fdo::Result<()> {
        assert_eq!((whom.as_str(), signal), ("all-fail", nix::libc::SIGKILL));
        self.note("KillUnit", &unit)
    }

    #[allow(clippy::needless_pass_by_value)]
    fn start_unit(&self, unit: String, mode: String) -> fdo::Result<OwnedObjectPath> {
        self.job("StartUnit", &unit, &mode)
    }

    #[allow(clippy::needless_pass_by_value)]
    fn stop_unit(&self, unit: String, mode: String) -> fdo::Result<OwnedObjectPath> {
        self.job("StopUnit", &unit, &mode)
    }

    #[allow(clippy::needless_pass_by_value)]
    fn restart_unit(&self, unit: String, mode: String) -> fdo::Result<OwnedObjectPath> {
        self.job("RestartUnit", &unit, &mode)
    }
}
