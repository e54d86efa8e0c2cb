//! Starts the proxy exactly as systemd does: sockets from number 3 on, `LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_USEC`.
//! The listeners belong to the test, as they belong to systemd, and outlive the daemon.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustbalance::ipc::proxy::{ProxyClient, ProxyStatus};

/// A documentation address that no machine can bind: a daemon that listens got its socket by inheritance.
pub(crate) const UNROUTABLE: &str = "203.0.113.1:80";

/// What is configured in one test.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    listener: TcpListener,
    unix: Option<UnixListener>,
    control: UnixListener,
    notify: UnixDatagram,
    /// Milliseconds of `WatchdogSec=`, if any.
    pub(crate) watchdog_ms: Option<u64>,
    /// `LimitNOFILE=`, if any.
    pub(crate) files: Option<u64>,
}

impl Scene {
    /// A scene whose proxy has this `[proxy]` section (besides `listen`) and whatever sections follow it.
    pub(crate) fn new(proxy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let scene = Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            unix: None,
            control: UnixListener::bind(path.join("proxy.sock")).unwrap(),
            notify: UnixDatagram::bind(path.join("notify")).unwrap(),
            watchdog_ms: None,
            files: None,
            directory,
        };
        scene.configure("trace", UNROUTABLE, proxy);
        scene
    }

    /// Writes the configuration: how much is logged, where it would listen, and what follows in `[proxy]`.
    pub(crate) fn configure(&self, level: &str, listen: &str, proxy: &str) {
        let directory = self.path().display();
        let config = format!(
            "[ipc]\ndirectory = \"{directory}\"\n[log]\nlevel = \"{level}\"\njournal = false\n\
             [proxy]\nlisten = \"{listen}\"\n{proxy}\n",
        );
        std::fs::write(self.path().join("config.toml"), config).unwrap();
    }

    /// Hands over a unix listener for the onion port, too.
    pub(crate) fn with_unix(mut self) -> Self {
        self.unix = Some(UnixListener::bind(self.unix_path()).unwrap());
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn unix_path(&self) -> PathBuf {
        self.path().join("onion.sock")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap()
    }

    /// Where clients (tor) connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The command line as systemd runs it. `LISTEN_PID` must be the number of the very process, so a shell sets it
    /// and then becomes the daemon.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        let limit = self.files.map(|files| format!("ulimit -n {files}; ")).unwrap_or_default();
        let script = format!("{limit}export LISTEN_PID=$$; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_rustbalance-proxy")]);
        command.arg("--config").arg(self.path().join("config.toml"));
        let mut sockets: Vec<(OwnedFd, &str)> = vec![
            (self.control.try_clone().unwrap().into(), "control"),
            (self.listener.try_clone().unwrap().into(), "onion"),
        ];
        sockets.extend(self.unix.iter().map(|unix| (unix.try_clone().unwrap().into(), "onion")));
        let names: Vec<&str> = sockets.iter().map(|(_, name)| *name).collect();
        command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.env("NOTIFY_SOCKET", self.path().join("notify"));
        if let Some(ms) = self.watchdog_ms {
            command.env("WATCHDOG_USEC", (ms * 1000).to_string());
        }
        let mapped = sockets
            .into_iter()
            .zip(3..)
            .map(|((socket, _), child_fd)| FdMapping { parent_fd: socket, child_fd });
        command.fd_mappings(mapped.collect()).unwrap();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Daemon {
        let daemon = Daemon { child: self.command().spawn().unwrap() };
        assert!(self.notified("READY=1", Duration::from_secs(10)), "not ready: {}", self.log());
        daemon
    }

    /// Whether a notification holding `text` comes within `limit`.
    pub(crate) fn notified(&self, text: &str, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut datagram = [0; 4096];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.notify.set_read_timeout(Some(left)).unwrap();
            match self.notify.recv(&mut datagram) {
                Ok(length) if String::from_utf8_lossy(&datagram[..length]).contains(text) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Has the daemon read its configuration again, and waits until it has, as systemd does with `Type=notify-reload`.
    pub(crate) fn reload(&self, daemon: &Daemon) {
        daemon.signal(Signal::SIGHUP);
        assert!(self.notified("RELOADING=1\nMONOTONIC_USEC=", Duration::from_secs(10)), "{}", self.log());
        assert!(self.notified("READY=1", Duration::from_secs(10)), "{}", self.log());
    }

    pub(crate) async fn status(&self) -> ProxyStatus {
        ProxyClient::connect(&self.path().join("proxy.sock")).await.unwrap().status().await.unwrap()
    }

    /// Waits until the counters satisfy `wanted`.
    pub(crate) async fn status_until(&self, wanted: impl Fn(&ProxyStatus) -> bool) -> ProxyStatus {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < end, "{status:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
}

impl Daemon {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the end, for a bounded time.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
