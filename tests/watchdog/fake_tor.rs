//! A tor as far as the watchdog's questions go. It can hang and die.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

#[derive(Clone)]
pub(crate) struct FakeTor {
    path: PathBuf,
    hung: Arc<AtomicBool>,
    /// Its introduction circuits; it has one onion service, in this directory.
    introduces: Arc<AtomicU32>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl FakeTor {
    pub(crate) fn new(path: &Path) -> Self {
        let tor = Self {
            path: path.to_owned(),
            hung: Arc::new(AtomicBool::new(false)),
            introduces: Arc::new(AtomicU32::new(6)),
            task: Arc::new(Mutex::new(None)),
        };
        tor.start();
        tor
    }

    /// It runs, as after `systemctl start`; what ran before is gone.
    pub(crate) fn start(&self) {
        self.kill();
        self.hung.store(false, Ordering::SeqCst);
        let listener = UnixListener::bind(&self.path).unwrap();
        let tor = self.clone();
        let task = tokio::spawn(async move {
            let mut peers = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                peers.spawn(serve(stream, tor.clone()));
            }
        });
        *self.task.lock().unwrap() = Some(task);
    }

    /// It is gone, with all its connections.
    pub(crate) fn kill(&self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
        let _ = std::fs::remove_file(&self.path);
    }

    /// So many of its introduction circuits are there from now on.
    pub(crate) fn introduce(&self, circuits: u32) {
        self.introduces.store(circuits, Ordering::SeqCst);
    }

    /// As by `kill -STOP`: its connections stay open, and nothing comes out of them.
    pub(crate) fn hang(&self) {
        self.hung.store(true, Ordering::SeqCst);
    }
}

async fn serve(stream: UnixStream, tor: FakeTor) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if tor.hung.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let _ = writer.write_all(tor.answer(&line).as_bytes()).await;
    }
}

impl FakeTor {
    fn answer(&self, line: &str) -> String {
        let (keyword, argument) = line.split_once(' ').unwrap_or((line, ""));
        let value = match argument {
            "status/bootstrap-phase" => "NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY=\"Done\"",
            "status/circuit-established" => "1",
            "network-liveness" => "up",
            "consensus/valid-after" => "2020-01-01 00:00:00",
            "consensus/valid-until" => "2099-01-01 00:00:00",
            _ => "",
        };
        match keyword {
            "PROTOCOLINFO" => {
                "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.9.11\"\r\n250 OK\r\n"
                    .to_owned()
            }
            "GETINFO" if argument == "circuit-status" => {
                let circuit =
                    |id| format!("{id} BUILT PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED\r\n");
                let circuits: String = (1..=self.introduces.load(Ordering::SeqCst)).map(circuit).collect();
                format!("250+circuit-status=\r\n{circuits}.\r\n250 OK\r\n")
            }
            "GETINFO" => format!("250-{argument}={value}\r\n250 OK\r\n"),
            "GETCONF" => {
                let directory = self.path.parent().unwrap().join("onion");
                format!("250-HiddenServiceDir={}\r\n250 HiddenServicePort=80\r\n", directory.display())
            }
            _ => "250 OK\r\n".to_owned(),
        }
    }
}
