//! A tor as far as its control port is concerned, with HSDirs behind it that can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use data_encoding::{BASE64_NOPAD, HEXUPPER};
use rustbalance::proto::onion::blinding::HsBlindId;
use rustbalance::proto::onion::descriptor::hsdesc::Opened;
use rustbalance::proto::onion::descriptor::outer::Outer;
use rustbalance::proto::onion::network::NetworkView;
use rustbalance::sys::clock::unix_secs;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::network::{Network, fingerprint, relay, service};

/// One `+HSPOST` that tor accepted.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) tor: &'static str,
    pub(crate) at: Instant,
    pub(crate) hsdirs: Vec<[u8; 20]>,
    pub(crate) period: u64,
    pub(crate) counter: u64,
    pub(crate) opened: Opened,
}

impl Posted {
    /// First bytes of the introduction points' auth keys.
    pub(crate) fn keys(&self) -> BTreeSet<u8> {
        self.opened.points.iter().map(|point| point.auth_key[0]).collect()
    }
}

/// What all HSDirs together store and do; shared by the two tors of a node.
pub(crate) struct HsDirs {
    pub(crate) posts: Vec<Posted>,
    /// These store what they get, but never answer.
    pub(crate) silent: BTreeSet<[u8; 20]>,
    /// (HSDir, blinded key) → counter and text.
    pub(crate) stored: BTreeMap<([u8; 20], HsBlindId), (u64, String)>,
}

/// What one tor knows.
pub(crate) struct Knows {
    pub(crate) network: Network,
    /// The own service's descriptor; `None`: it has no such service.
    pub(crate) own: Option<String>,
    /// Relays that it does not know although its consensus names them.
    pub(crate) unknown: BTreeSet<[u8; 20]>,
    /// How many more commands `+HSPOST` are answered before it dies.
    pub(crate) dies_after_posts: Option<u32>,
    /// The ways of authentication that it offers.
    pub(crate) methods: &'static str,
    pub(crate) commands: Vec<String>,
    /// The circuits it has, as `GETINFO circuit-status` gives them.
    pub(crate) circuits: Vec<String>,
    /// When it was told to close circuits.
    pub(crate) closed_at: Vec<Instant>,
}

/// A running tor.
pub(crate) struct FakeTor {
    pub(crate) name: &'static str,
    path: PathBuf,
    pub(crate) knows: Arc<Mutex<Knows>>,
    hsdirs: Arc<Mutex<HsDirs>>,
    events: broadcast::Sender<String>,
    task: Option<JoinHandle<()>>,
}

pub(crate) fn hsdirs() -> Arc<Mutex<HsDirs>> {
    Arc::new(Mutex::new(HsDirs { posts: Vec::new(), silent: BTreeSet::new(), stored: BTreeMap::new() }))
}

impl FakeTor {
    pub(crate) fn new(
        name: &'static str,
        path: PathBuf,
        network: &Network,
        hsdirs: &Arc<Mutex<HsDirs>>,
    ) -> Self {
        let knows = Knows {
            network: network.clone(),
            own: None,
            unknown: BTreeSet::new(),
            dies_after_posts: None,
            methods: "NULL",
            commands: Vec::new(),
            circuits: Vec::new(),
            closed_at: Vec::new(),
        };
        Self {
            name,
            path,
            knows: Arc::new(Mutex::new(knows)),
            hsdirs: Arc::clone(hsdirs),
            events: broadcast::Sender::new(256),
            task: None,
        }
    }

    /// Begins to listen.
    pub(crate) fn start(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).unwrap();
        let (name, knows, hsdirs) = (self.name, Arc::clone(&self.knows), Arc::clone(&self.hsdirs));
        let events = self.events.clone();
        self.task = Some(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let peer = Peer {
                    name,
                    knows: Arc::clone(&knows),
                    hsdirs: Arc::clone(&hsdirs),
                    events: events.clone(),
                };
                // One controller at a time is all these tests need; when it dies, so does the tor.
                if !peer.serve(stream).await {
                    return;
                }
            }
        }));
    }

    /// Dies as by `kill -9`: every connection is gone at once.
    pub(crate) fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let _ = std::fs::remove_file(&self.path);
    }

    /// Sends an asynchronous event; `@` stands for the service's address.
    pub(crate) fn tell(&self, event: &str) {
        let address = service().service_id();
        let _ = self.events.send(format!("650 {}\r\n", event.replace('@', &address)));
    }

    pub(crate) fn knows(&self) -> MutexGuard<'_, Knows> {
        self.knows.lock().unwrap()
    }
}

struct Peer {
    name: &'static str,
    knows: Arc<Mutex<Knows>>,
    hsdirs: Arc<Mutex<HsDirs>>,
    events: broadcast::Sender<String>,
}

impl Peer {
    /// Serves one connection; false when the tor died.
    async fn serve(&self, stream: UnixStream) -> bool {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut events = self.events.subscribe();
        loop {
            tokio::select! {
                line = lines.next_line() => {
                    let Ok(Some(line)) = line else { return true };
                    let mut data = String::new();
                    if line.starts_with('+') {
                        while let Some(line) = lines.next_line().await.unwrap().filter(|line| line != ".") {
                            data.push_str(line.strip_prefix('.').unwrap_or(&line));
                            data.push('\n');
                        }
                    }
                    self.knows.lock().unwrap().commands.push(line.clone());
                    if !self.answer(&mut writer, &line, &data).await {
                        return false;
                    }
                }
                event = events.recv() => {
                    if let Ok(event) = event {
                        send(&mut writer, &event).await;
                    }
                }
            }
        }
    }

    async fn answer(&self, writer: &mut OwnedWriteHalf, line: &str, data: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let reply = match words[0] {
            "PROTOCOLINFO" => {
                let methods = self.knows.lock().unwrap().methods;
                format!("250-PROTOCOLINFO 1\r\n250-AUTH METHODS={methods}\r\n250 OK\r\n")
            }
            "AUTHENTICATE" | "SETEVENTS" | "SIGNAL" => "250 OK\r\n".to_owned(),
            "CLOSECIRCUIT" => {
                let mut knows = self.knows.lock().unwrap();
                knows.closed_at.push(Instant::now());
                let before = knows.circuits.len();
                knows.circuits.retain(|circuit| !circuit.starts_with(&format!("{} ", words[1])));
                let known = knows.circuits.len() < before;
                if known {
                    "250 OK\r\n".to_owned()
                } else {
                    format!("552 Unknown circuit \"{}\"\r\n", words[1])
                }
            }
            "GETCONF" if words[1] == "CountPrivateBandwidth" => "250 CountPrivateBandwidth=0\r\n".to_owned(),
            "GETCONF" => "250 TestingTorNetwork=1\r\n".to_owned(),
            "EXTENDCIRCUIT" => {
                self.later(Duration::ZERO, "650 CIRC 99 LAUNCHED PURPOSE=GENERAL\r\n".to_owned());
                "250 EXTENDED 99\r\n".to_owned()
            }
            "GETINFO" => self.info(words[1]),
            "HSFETCH" => {
                let servers = words[2..].iter().map(|word| word.strip_prefix("SERVER=").unwrap());
                servers.for_each(|server| self.fetch(id(server)));
                "250 OK\r\n".to_owned()
            }
            "+HSPOST" => {
                let mut knows = self.knows.lock().unwrap();
                if let Some(left) = &mut knows.dies_after_posts {
                    if *left == 0 {
                        return false;
                    }
                    *left -= 1;
                }
                let servers = words.iter().filter_map(|word| word.strip_prefix("SERVER=")).map(id).collect();
                let unknown = knows.unknown.clone();
                drop(knows);
                self.post(servers, &unknown, data)
            }
            other => panic!("unexpected command {other}"),
        };
        send(writer, &reply).await;
        true
    }

    fn info(&self, key: &str) -> String {
        let knows = self.knows.lock().unwrap();
        let block = |text: &str| format!("250+{key}=\r\n{}.\r\n250 OK\r\n", text.replace('\n', "\r\n"));
        match key {
            "status/enough-dir-info" => format!("250-{key}=1\r\n250 OK\r\n"),
            "consensus/valid-after" => format!("250-{key}={}\r\n250 OK\r\n", knows.network.valid_after),
            "dir/status-vote/current/consensus-microdesc" => block(&knows.network.consensus),
            "circuit-status" => {
                let lines = knows.circuits.iter().flat_map(|circuit| [circuit.as_str(), "\n"]);
                block(&lines.collect::<String>())
            }
            "orconn-status" => block(&format!("${}~x CONNECTED\n", fingerprint(relay(8)))),
            "md/all" => block(&knows.network.microdescs),
            own => {
                assert_eq!(own, format!("hs/service/desc/id/{}", service().service_id()));
                knows.own.as_ref().map_or_else(|| "551 Not found in cache\r\n".to_owned(), |own| block(own))
            }
        }
    }

    fn view(&self) -> NetworkView {
        self.knows.lock().unwrap().network.view()
    }

    /// Takes a descriptor as an HSDir and as a client would: one that cannot be opened is no use to anybody.
    fn post(&self, servers: Vec<[u8; 20]>, unknown: &BTreeSet<[u8; 20]>, text: &str) -> String {
        if let Some(unknown) = servers.iter().find(|server| unknown.contains(*server)) {
            return format!("552 Server \"{}\" not found\r\n", fingerprint(*unknown));
        }
        let outer = Outer::parse(text).unwrap().verify(unix_secs()).unwrap();
        let periods = self.view().slots().map(|slot| slot.period);
        let (period, opened) = outer.open(&service(), &periods, None).unwrap();
        let (at, tor, counter) = (Instant::now(), self.name, outer.counter.0);
        let mut hsdirs = self.hsdirs.lock().unwrap();
        for server in &servers {
            let key = (*server, outer.blind_id);
            let fresh = hsdirs.stored.get(&key).is_none_or(|(held, _)| *held < counter);
            if fresh {
                hsdirs.stored.insert(key, (counter, text.to_owned()));
            }
            let (fingerprint, blinded) = (fingerprint(*server), BASE64_NOPAD.encode(&outer.blind_id.0));
            if hsdirs.silent.contains(server) {
                continue;
            }
            let answer = if fresh {
                format!("UPLOADED @ UNKNOWN ${fingerprint}~x")
            } else {
                format!("FAILED @ NO_AUTH ${fingerprint}~x {blinded} REASON=UPLOAD_REJECTED")
            };
            self.later(Duration::from_millis(20), format!("650 HS_DESC {answer}\r\n"));
        }
        let post = Posted { tor, at, hsdirs: servers, period: period.num, counter, opened };
        hsdirs.posts.push(post);
        "250 OK\r\n".to_owned()
    }

    fn fetch(&self, server: [u8; 20]) {
        let slots = self.view().slots();
        let period = slots.iter().find(|slot| slot.client_fetches).unwrap().period;
        let blinded = service().blind(period).unwrap();
        let (fp, b64) = (fingerprint(server), BASE64_NOPAD.encode(&blinded.0));
        let stored = self.hsdirs.lock().unwrap().stored.get(&(server, blinded)).cloned();
        let events = if let Some((_, text)) = stored {
            let text = text.replace('\n', "\r\n");
            format!(
                "650 HS_DESC RECEIVED @ NO_AUTH ${fp}~x {b64}\r\n\
                 650+HS_DESC_CONTENT @ {b64} ${fp}~x\r\n{text}.\r\n650 OK\r\n"
            )
        } else {
            format!(
                "650 HS_DESC FAILED @ NO_AUTH ${fp}~x {b64} REASON=NOT_FOUND\r\n\
                 650+HS_DESC_CONTENT @ {b64} ${fp}~x\r\n\r\n.\r\n650 OK\r\n"
            )
        };
        self.later(Duration::from_millis(20), events);
    }

    fn later(&self, after: Duration, event: String) {
        let events = self.events.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = events.send(event.replace('@', &service().service_id()));
        });
    }
}

async fn send(writer: &mut OwnedWriteHalf, text: &str) {
    let _ = writer.write_all(text.as_bytes()).await;
}

fn id(fingerprint: &str) -> [u8; 20] {
    HEXUPPER.decode(fingerprint.as_bytes()).unwrap().try_into().unwrap()
}
