//! A control connection to a tor, as the shells use it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use secrecy::ExposeSecret;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;
use zeroize::Zeroizing;

use crate::proto::onion::address::HsId;
use crate::tor::address::{ControlAuth, SocketAddress};
use crate::tor::authentication::{COOKIE_BYTES, Method, ProtocolInfo, USUAL_COOKIE_FILES, answer_challenge};
use crate::tor::command::{Command, Signal};
use crate::tor::connection::{self, Handle, Request};
use crate::tor::error::{CloseReason, ControlError};
use crate::tor::event::{self, CircuitEvent, EventKind, TorEvent};
use crate::tor::quoting::unquote;
use crate::tor::reply::{Reply, ReplyLine};

/// Most of tor's words that an error repeats, in letters: a sentence.
const MAX_REFUSAL_LETTERS: usize = 300;

/// How long tor may take, and how many events may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlLimits {
    /// For accepting a connection. It is on this machine; the kernel accepts for it.
    pub connect: Duration,
    /// For answering a command, and for reading the cookie file. Tor answers in milliseconds, but its one thread
    /// also verifies consensuses and does a relay's work; some seconds happen on small machines.
    pub command: Duration,
    /// For handing out a whole consensus or all microdescriptors, 10 MB and more.
    pub document: Duration,
    /// Places in the queue of events. A rotation brings some 50 at once; a thousand are minutes of a busy tor.
    pub events: usize,
}

impl Default for ControlLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            command: Duration::from_secs(10),
            document: Duration::from_mins(1),
            events: 1024,
        }
    }
}

/// An authenticated control connection. Clones share it; it closes when the last one is dropped, and what tor
/// was told to do goes on.
///
/// Commands are sent one at a time, in order. A command that is not answered in time closes the connection,
/// because later answers could no longer be matched. Dropping a waiting command does no harm.
#[derive(Debug, Clone)]
pub struct Controller {
    handle: Handle,
    limits: ControlLimits,
}

impl Controller {
    /// Connects and authenticates with the default limits. Events come out of the receiver, the last one is
    /// [`TorEvent::Closed`]; a receiver that is dropped costs nothing.
    pub async fn connect(
        address: &SocketAddress,
        auth: &ControlAuth,
    ) -> Result<(Self, mpsc::Receiver<TorEvent>), ControlError> {
        Self::connect_with(address, auth, ControlLimits::default()).await
    }

    /// Connects and authenticates.
    pub async fn connect_with(
        address: &SocketAddress,
        auth: &ControlAuth,
        limits: ControlLimits,
    ) -> Result<(Self, mpsc::Receiver<TorEvent>), ControlError> {
        let (handle, events) = timeout(limits.connect, open(address, limits.events))
            .await
            .map_err(|_| ControlError::ConnectTimedOut {
                address: address.to_string(),
                limit: limits.connect,
            })?
            .map_err(|source| ControlError::Connect { address: address.to_string(), source })?;
        let controller = Self { handle, limits };
        controller.authenticate(auth).await?;
        debug!(%address, "control connection ready");
        Ok((controller, events))
    }

    /// Asks tor what it wants, and gives it.
    async fn authenticate(&self, auth: &ControlAuth) -> Result<(), ControlError> {
        let info = ProtocolInfo::parse(&self.run(Command::protocol_info()?).await?)?;
        let password = match auth {
            ControlAuth::Auto => None,
            ControlAuth::Password(password) => Some(password),
        };
        let method = info.choose(password.is_some())?;
        debug!(?method, "authenticating");
        let secret = match method {
            Method::Null => Zeroizing::new(Vec::new()),
            Method::Password => {
                let password = password.map_or("", |password| password.expose_secret());
                if password.is_empty() {
                    return Err(ControlError::EmptyPassword);
                }
                Zeroizing::new(password.as_bytes().to_vec())
            }
            Method::Cookie => {
                let paths: Vec<_> = info.cookie_file.into_iter().collect();
                Zeroizing::new(self.cookie(&paths).await?.to_vec())
            }
            Method::SafeCookie => {
                let usual = USUAL_COOKIE_FILES.iter().map(PathBuf::from);
                let paths: Vec<_> = info.cookie_file.into_iter().chain(usual).collect();
                let cookie = self.cookie(&paths).await?;
                let mut nonce = [0; COOKIE_BYTES];
                rand::rng().fill_bytes(&mut nonce);
                let reply = self.run(Command::auth_challenge(&nonce)?).await?;
                Zeroizing::new(answer_challenge(&cookie, &nonce, &reply)?.to_vec())
            }
        };
        match self.run(Command::authenticate(&secret)).await {
            Err(ControlError::Refused { status, .. }) => Err(ControlError::AuthRefused { status }),
            other => other.map(drop),
        }
    }

    /// Reads the cookie from the first of these files that exists.
    async fn cookie(&self, paths: &[PathBuf]) -> Result<Zeroizing<[u8; COOKIE_BYTES]>, ControlError> {
        let mut missing = ControlError::Answer { command: "PROTOCOLINFO", what: "it names no cookie file" };
        for path in paths {
            let limit = self.limits.command;
            let read = timeout(limit, read_cookie(path)).await;
            match read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(Some(cookie)) => return Ok(cookie),
                Ok(None) => return Err(ControlError::NotACookie { path: path.clone() }),
                Err(source) if source.kind() == io::ErrorKind::NotFound => {
                    // The first file is the one tor named, so it is the one to complain about.
                    if !matches!(missing, ControlError::Cookie { .. }) {
                        missing = ControlError::Cookie { path: path.clone(), source };
                    }
                }
                Err(source) => return Err(ControlError::Cookie { path: path.clone(), source }),
            }
        }
        Err(missing)
    }

    /// The value of one key, for example `version` or `md/all`. Documents end with a line end.
    pub async fn getinfo(&self, key: &str) -> Result<String, ControlError> {
        let is_document = ["dir/", "md/", "ns/", "desc/"].iter().any(|prefix| key.starts_with(prefix));
        let limit = if is_document { self.limits.document } else { self.limits.command };
        let reply = self.run_within(Command::getinfo(key)?, limit).await?;
        let line = reply.lines.into_iter().next();
        line.and_then(|ReplyLine { text, data }| {
            let value = text.strip_prefix(key)?.strip_prefix('=')?;
            Some(data.unwrap_or_else(|| value.to_owned()))
        })
        .ok_or(ControlError::Answer {
            command: "GETINFO",
            what: "it is not about the key that was asked for",
        })
    }

    /// All circuits that tor has now, those under construction too. Lines that are not understood are left out.
    pub async fn circuits(&self) -> Result<Vec<CircuitEvent>, ControlError> {
        let status = self.getinfo("circuit-status").await?;
        Ok(status.lines().filter_map(|line| event::circuit(line).ok()).collect())
    }

    /// Begins a new circuit, by a way that tor chooses; its name. How it goes on is told by `CIRC` events.
    pub async fn extend_circuit(&self) -> Result<String, ControlError> {
        self.begin_circuit(Command::extend_circuit()?).await
    }

    /// Begins a new circuit over these relays, which tor uses for nothing; its name.
    pub async fn extend_circuit_by(&self, path: &[[u8; 20]]) -> Result<String, ControlError> {
        self.begin_circuit(Command::extend_circuit_by(path)?).await
    }

    async fn begin_circuit(&self, command: Command) -> Result<String, ControlError> {
        let reply = self.run(command).await?;
        let name = reply.text().strip_prefix("EXTENDED ").unwrap_or_default();
        Ok(name.to_owned())
    }

    /// Closes a circuit, whatever runs over it. One that is gone already is refused with a status of 552.
    pub async fn close_circuit(&self, id: &str) -> Result<(), ControlError> {
        self.run(Command::close_circuit(id)?).await.map(drop)
    }

    /// An option's values, or those of a group of options, in tor's order: its name in tor's spelling and its
    /// value, `None` if it has none (or, some options, if it has its default).
    pub async fn getconf(&self, option: &str) -> Result<Vec<(String, Option<String>)>, ControlError> {
        let reply = self.run(Command::getconf(option)?).await?;
        let lines = reply.lines.into_iter().map(|line| match line.text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(configured_value(value))),
            None => (line.text, None),
        });
        Ok(lines.collect())
    }

    /// Sets options, all or none of them, until tor ends or reads its file again. `None` makes an option empty.
    /// Naming one option of a group (`HiddenService…`) replaces the whole group: name all of it.
    pub async fn setconf(&self, options: &[(&str, Option<&str>)]) -> Result<(), ControlError> {
        self.run(Command::setconf(options)?).await.map(drop)
    }

    /// As [`Self::setconf`], but `None` gives an option its default.
    pub async fn resetconf(&self, options: &[(&str, Option<&str>)]) -> Result<(), ControlError> {
        self.run(Command::resetconf(options)?).await.map(drop)
    }

    /// From now on these kinds of events and no others.
    pub async fn setevents(&self, kinds: &[EventKind]) -> Result<(), ControlError> {
        self.run(Command::setevents(kinds)?).await.map(drop)
    }

    /// Tells tor to do something at once.
    pub async fn signal(&self, signal: Signal) -> Result<(), ControlError> {
        self.run(Command::signal(signal)?).await.map(drop)
    }

    /// Posts a descriptor to these HSDirs (RSA identities). `Ok` means that the uploads began; each HSDir's answer
    /// comes as an `HS_DESC` event `UPLOADED` or `FAILED`, or never, when its circuit or connection fails.
    /// A status of 552 names an HSDir that is not in tor's consensus; nothing was posted then.
    pub async fn hspost(
        &self,
        servers: &[[u8; 20]],
        address: &HsId,
        descriptor: &str,
    ) -> Result<(), ControlError> {
        self.run(Command::hspost(servers, address, descriptor)?).await.map(drop)
    }

    /// Asks each of these HSDirs (RSA identities) for the descriptor of the period that clients use now. The
    /// answers come as `HS_DESC` and `HS_DESC_CONTENT` events. After a failure tor may ask other HSDirs by itself:
    /// look at the fingerprint.
    pub async fn hsfetch(&self, address: &HsId, servers: &[[u8; 20]]) -> Result<(), ControlError> {
        self.run(Command::hsfetch(address, servers)?).await.map(drop)
    }

    /// Why the connection is closed; `None` while it is open.
    pub fn closed(&self) -> Option<CloseReason> {
        self.handle.closed.get().copied()
    }

    /// Sends a command with the usual time limit.
    async fn run(&self, command: Command) -> Result<Reply, ControlError> {
        self.run_within(command, self.limits.command).await
    }

    /// Sends a command and waits for its answer, which must be a success.
    async fn run_within(&self, command: Command, limit: Duration) -> Result<Reply, ControlError> {
        let keyword = command.keyword;
        let (answer, answered) = oneshot::channel();
        let closed = || ControlError::Closed { reason: self.closed().unwrap_or(CloseReason::Dropped) };
        self.handle.requests.send(Request { command, limit, answer }).await.map_err(|_| closed())?;
        let reply = answered.await.map_err(|_| closed())??;
        match reply.status {
            200..300 => Ok(reply),
            status => Err(ControlError::Refused { command: keyword, status, text: printable(reply.text()) }),
        }
    }
}

/// Opens the connection and starts its task.
async fn open(address: &SocketAddress, events: usize) -> io::Result<(Handle, mpsc::Receiver<TorEvent>)> {
    match address {
        SocketAddress::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            Ok(connection::start(reader, writer, events))
        }
        SocketAddress::Unix(path) => {
            let (reader, writer) = UnixStream::connect(path).await?.into_split();
            Ok(connection::start(reader, writer, events))
        }
    }
}

/// Reads a cookie file; `None` if it is something else. A peer chooses the path, so nothing but a plain file of
/// exactly a cookie's length is taken.
async fn read_cookie(path: &Path) -> io::Result<Option<Zeroizing<[u8; COOKIE_BYTES]>>> {
    let path = path.to_owned();
    // The standard library, because tokio's file would leave a copy of the cookie in its buffer.
    let read = tokio::task::spawn_blocking(move || {
        let found = std::fs::metadata(&path)?;
        if !found.is_file() || found.len() != COOKIE_BYTES as u64 {
            return Ok(None);
        }
        let mut cookie = Zeroizing::new([0; COOKIE_BYTES]);
        std::fs::File::open(&path)?.read_exact(&mut cookie[..])?;
        Ok(Some(cookie))
    });
    read.await.map_err(io::Error::other)?
}

/// A value as it is configured. Tor quotes those that begin with a quotation mark or have unusual letters, and
/// only those, so a quotation mark at the beginning is always tor's.
fn configured_value(value: &str) -> String {
    match unquote(value) {
        Some(plain) => String::from_utf8_lossy(&plain).into_owned(),
        None => value.to_owned(),
    }
}

/// Tor's words, safe for a terminal and a log line.
fn printable(text: &str) -> String {
    text.chars().take(MAX_REFUSAL_LETTERS).flat_map(char::escape_debug).collect()
}
