//! Both ends of a WebSocket (RFC 6455), as far as short text messages need it.
//!
//! The nonce of the handshake is the specification's own example, whose answer is known without SHA-1: what matters here
//! is what lies between the two ends.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_socks::tcp::Socks5Stream;

/// Nonce and answer of the example in section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// First bytes of a frame: the last piece of a text message, or a close.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
/// What a client hides its bytes with; any value will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Longest message whose length is one byte.
const MAX_MESSAGE: usize = 125;
/// Where the target says by which name it was asked: its first letters only, or the proxy would exchange it.
const HEARD: &str = "X-Heard: ";
const LETTERS: usize = 16;
/// Longest head of an answer.
const MAX_HEAD: usize = 8192;
/// How long one message may take to be echoed, the first with its circuit: what a page may take.
const ECHO_LIMIT: Duration = Duration::from_secs(30);

/// Whether a request asks for a WebSocket, with the nonce that can be answered.
pub(super) fn is_wanted(request: &str) -> bool {
    let has = |name, value: &str| header(request, name).is_some_and(|said| said.eq_ignore_ascii_case(value));
    has("upgrade", "websocket") && has("sec-websocket-key", KEY)
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = request.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Answers the handshake and sends every message back, until the client closes.
pub(super) async fn echo(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
) -> io::Result<()> {
    let heard: String = header(request, "host").unwrap_or_default().chars().take(LETTERS).collect();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{HEARD}{heard}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    while let Some(message) = receive(stream).await? {
        send(stream, TEXT, &message, None).await?;
    }
    send(stream, CLOSE, &[], None).await
}

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Talker {
    /// The SOCKS port of its tor.
    pub(super) socks: SocketAddr,
    /// The address it talks to.
    pub(super) host: String,
    /// By which name the target has to hear of it: its own, which a proxy in HTTP mode gives it.
    pub(super) target: String,
    /// Keeps its circuit apart from others.
    pub(super) circuit: String,
}

impl Talker {
    /// Says so many messages with a pause before each, and ends in order. Gives the longest time that an echo took.
    pub(super) async fn converse(&self, messages: usize, pause: Duration) -> io::Result<Duration> {
        let mut longest = Duration::ZERO;
        let mut stream = timeout(ECHO_LIMIT, self.open()).await??;
        for number in 0..messages {
            sleep(pause).await;
            let (message, begin) = (format!("message {number} of {}", self.circuit), Instant::now());
            send(&mut stream, TEXT, message.as_bytes(), Some(MASK)).await?;
            if timeout(ECHO_LIMIT, receive(&mut stream)).await??.as_deref() != Some(message.as_bytes()) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "another message came back"));
            }
            longest = longest.max(begin.elapsed());
        }
        send(&mut stream, CLOSE, &[], Some(MASK)).await?;
        match timeout(ECHO_LIMIT, receive(&mut stream)).await?? {
            None => Ok(longest),
            Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a message came instead of the end")),
        }
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let (host, circuit) = (self.host.as_str(), self.circuit.as_str());
        let stream = Socks5Stream::connect_with_password(self.socks, (host, 80), circuit, "lab").await;
        let mut stream = stream.map_err(io::Error::other)?.into_inner();
        let request = format!(
            "GET /socket HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let heard = header(&head, HEARD.trim_end_matches(": ")).unwrap_or_default();
        let is_good = head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT);
        match (is_good, !heard.is_empty() && self.target.starts_with(heard)) {
            (true, true) => Ok(stream),
            (true, false) => Err(io::Error::other(format!("the target was asked for {heard:?}"))),
            (false, _) => Err(io::Error::other(format!("no WebSocket: {head:?}"))),
        }
    }
}

/// The next message; `None` when the other side closes.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let (kind, length) = (stream.read_u8().await?, stream.read_u8().await?);
    let (is_masked, length) = (length & 0x80 != 0, usize::from(length & 0x7f));
    if (kind != TEXT && kind != CLOSE) || length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a short text message"));
    }
    let mut mask = [0; 4];
    if is_masked {
        stream.read_exact(&mut mask).await?;
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    hide(&mut message, mask);
    Ok((kind == TEXT).then_some(message))
}

async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    message: &[u8],
    mask: Option<[u8; 4]>,
) -> io::Result<()> {
    let length = u8::try_from(message.len()).ok().filter(|length| usize::from(*length) <= MAX_MESSAGE);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let mut frame = vec![kind, if mask.is_some() { length | 0x80 } else { length }];
    let mut hidden = message.to_vec();
    if let Some(mask) = mask {
        frame.extend(mask);
        hide(&mut hidden, mask);
    }
    frame.extend(hidden);
    stream.write_all(&frame).await
}

/// Hides a message, or shows it again (section 5.3).
fn hide(message: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in message.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn frames_are_those_of_the_specification() {
        let (mut near, mut far) = duplex(1024);
        send(&mut near, TEXT, b"Hello", Some(MASK)).await.unwrap();
        let mut frame = [0; 11];
        far.read_exact(&mut frame).await.unwrap();
        // Section 5.7: a masked text message.
        assert_eq!(frame, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        far.write_all(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x88, 0x00]).await.unwrap();
        assert_eq!(receive(&mut near).await.unwrap().as_deref(), Some(&b"Hello"[..]));
        assert_eq!(receive(&mut near).await.unwrap(), None);
        far.write_all(&[0x82, 0x01, 0x00]).await.unwrap();
        assert!(receive(&mut near).await.is_err(), "binary");
        assert!(send(&mut near, TEXT, &[0; MAX_MESSAGE + 1], None).await.is_err());
    }

    #[test]
    fn a_handshake_is_known_by_its_nonce() {
        let request = format!("GET / HTTP/1.1\r\nUPGRADE: WebSocket\r\nsec-websocket-key: {KEY}\r\n\r\n");
        assert!(is_wanted(&request));
        assert!(!is_wanted(&request.replace(KEY, "b3RoZXIgc2FtcGxlIG5vbmNl")));
        assert!(!is_wanted("GET / HTTP/1.1\r\n\r\n"));
    }
}
