//! Both ends of the proxy's HTTP: a client that sends exactly the bytes it is given, and a target that tells exactly what
//! it was asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::LONG;

/// A message as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// With the lines' ends, but not the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Behind the body, if it came in chunks.
    pub(crate) trailers: String,
    /// Which of the target's connections it came over.
    pub(crate) connection: usize,
}

impl Message {
    pub(crate) fn first_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.first_line().split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// How a message's end is found where its headers do not say.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Silent {
    /// There is no body.
    Empty,
    /// It ends with the connection.
    Close,
}

/// Reads one message; `None` at the end of the stream.
pub(crate) async fn read_message(
    stream: &mut BufReader<impl tokio::io::AsyncRead + Unpin>,
    silent: Silent,
) -> Option<Message> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            assert!(head.is_empty(), "cut off: {head:?}");
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut message = Message { head, body: Vec::new(), trailers: String::new(), connection: 0 };
    if message.header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let size = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
            if size == 0 {
                break;
            }
            let at = message.body.len();
            message.body.resize(at + size, 0);
            stream.read_exact(&mut message.body[at..]).await.ok()?;
            stream.read_line(&mut String::new()).await.ok()?;
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            if line == "\r\n" {
                break;
            }
            message.trailers.push_str(&line);
        }
    } else if let Some(length) = message.header("content-length") {
        message.body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut message.body).await.ok()?;
    } else if silent == Silent::Close {
        stream.read_to_end(&mut message.body).await.ok()?;
    }
    Some(message)
}

/// What a target does with a request.
pub(crate) enum Reply {
    /// Sends this and goes on.
    Send(Vec<u8>),
    /// Sends this and closes.
    Last(Vec<u8>),
    /// Says nothing for long.
    Silence,
}

/// A target whose answers a closure gives.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Message>,
}

impl Target {
    pub(crate) async fn new(reply: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let (reply, count) = (Arc::new(reply), AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, tell) = (Arc::clone(&reply), tell.clone());
                let connection = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(mut message) = read_message(&mut stream, Silent::Empty).await {
                        message.connection = connection;
                        let reply = reply(&message);
                        let _ = tell.send(message);
                        match reply {
                            Reply::Send(bytes) => stream.write_all(&bytes).await.ok()?,
                            Reply::Last(bytes) => return stream.write_all(&bytes).await.ok(),
                            Reply::Silence => tokio::time::sleep(LONG).await,
                        }
                    }
                    Some(())
                });
            }
        });
        Self { address, asked }
    }

    /// One that answers everything alike.
    pub(crate) async fn always(response: &'static str) -> Self {
        Self::new(|_| Reply::Send(response.as_bytes().to_vec())).await
    }

    /// The next request.
    pub(crate) async fn asked(&mut self) -> Message {
        timeout(LONG, self.asked.recv()).await.unwrap().unwrap()
    }

    /// All requests so far that nobody has taken.
    pub(crate) fn all_asked(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }

    /// Whether nothing more was asked.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }

    /// The section of the configuration that leads here.
    pub(crate) fn section(&self) -> String {
        format!("target = \"http://{}\"\nmode = \"http\"", self.address)
    }
}

/// A client.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) async fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Message {
        self.receive_as(Silent::Close).await
    }

    pub(crate) async fn receive_as(&mut self, silent: Silent) -> Message {
        timeout(LONG, read_message(&mut self.0, silent)).await.unwrap().expect("a response")
    }

    pub(crate) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Message {
        self.send(bytes).await;
        self.receive().await
    }

    /// Whether the connection ends in order, without another byte.
    pub(crate) async fn is_over(&mut self) -> bool {
        matches!(timeout(LONG, self.0.read(&mut [0; 1])).await, Ok(Ok(0)))
    }

    pub(crate) fn stream(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.0
    }
}
