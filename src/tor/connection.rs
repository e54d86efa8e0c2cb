//! The task that owns a control connection: one command at a time out, answers to who asked, events to a queue.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, trace};
use zeroize::Zeroizing;

use crate::tor::command::Command;
use crate::tor::error::{CloseReason, ControlError};
use crate::tor::event::{self, TorEvent};
use crate::tor::reply::{Reply, ReplyDecoder};

/// Bytes read at once: enough that ten megabytes need few turns, little beside what a reply may hold.
const READ_BYTES: usize = 64 * 1024;

/// Commands that may wait for their turn; whoever brings one more waits to hand it over. The wait ends, for each
/// command before it is answered within its time limit or closes the connection.
const WAITING_COMMANDS: usize = 16;

/// A command on its way, and who waits for the answer.
pub(super) struct Request {
    /// What to send.
    pub(super) command: Command,
    /// How long tor may take, from the moment it is this command's turn.
    pub(super) limit: Duration,
    /// Where the answer goes. Nobody there: the answer is still awaited, and dropped.
    pub(super) answer: oneshot::Sender<Result<Reply, ControlError>>,
}

/// The ends of a running connection that its `Controller` holds.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    /// Takes requests.
    pub(super) requests: mpsc::Sender<Request>,
    /// Says why the connection ended, once it has.
    pub(super) closed: Arc<OnceLock<CloseReason>>,
}

/// Starts the task for a connection. Events go into a queue of `events` places.
pub(super) fn start<R, W>(reader: R, writer: W, events: usize) -> (Handle, mpsc::Receiver<TorEvent>)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (requests, waiting) = mpsc::channel(WAITING_COMMANDS);
    let (event_sender, event_receiver) = mpsc::channel(events);
    let closed = Arc::new(OnceLock::new());
    let connection = Connection {
        reader,
        writer,
        decoder: ReplyDecoder::new(),
        outgoing: Zeroizing::new(Vec::new()),
        sent: 0,
        in_flight: None,
        requests: waiting,
        events: EventQueue { sender: event_sender, missed: 0 },
    };
    tokio::spawn(connection.run(Arc::clone(&closed)));
    (Handle { requests, closed }, event_receiver)
}

/// The command that tor is working on.
struct InFlight {
    /// Its keyword.
    keyword: &'static str,
    /// Its time limit, for the error.
    limit: Duration,
    /// When the limit is reached.
    deadline: Instant,
    /// Who waits.
    answer: oneshot::Sender<Result<Reply, ControlError>>,
}

/// A control connection.
struct Connection<R, W> {
    reader: R,
    writer: W,
    decoder: ReplyDecoder,
    /// The command being written.
    outgoing: Zeroizing<Vec<u8>>,
    /// How much of it has been written.
    sent: usize,
    in_flight: Option<InFlight>,
    requests: mpsc::Receiver<Request>,
    events: EventQueue,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    /// Works until the connection ends, then tells everyone.
    async fn run(mut self, closed: Arc<OnceLock<CloseReason>>) {
        let reason = self.work().await;
        debug!(%reason, "control connection closed");
        // From here on new requests fail by themselves; the reason must be there before they can.
        let _ = closed.set(reason);
        self.requests.close();
        if let Some(InFlight { keyword, limit, answer, .. }) = self.in_flight.take() {
            let _ = answer.send(Err(match reason {
                CloseReason::TimedOut { .. } => ControlError::TimedOut { command: keyword, limit },
                _ => ControlError::Closed { reason },
            }));
        }
        while let Some(request) = self.requests.recv().await {
            let _ = request.answer.send(Err(ControlError::Closed { reason }));
        }
        // The socket goes before the last events are handed over: a slow reader must not keep it open.
        drop((self.reader, self.writer));
        self.events.finish(reason).await;
    }

    /// Reads, writes and waits until there is a reason to end.
    async fn work(&mut self) -> CloseReason {
        let mut chunk = vec![0; READ_BYTES];
        loop {
            let deadline = self.in_flight.as_ref().map(|in_flight| (in_flight.keyword, in_flight.deadline));
            let writing = self.sent < self.outgoing.len();
            tokio::select! {
                read = self.reader.read(&mut chunk) => match read {
                    Ok(0) => return CloseReason::Eof,
                    Ok(count) => {
                        if let Err(reason) = self.received(chunk.get(..count).unwrap_or_default()) {
                            return reason;
                        }
                    }
                    Err(error) => return CloseReason::Io(error.kind()),
                },
                written = self.writer.write(self.outgoing.get(self.sent..).unwrap_or_default()), if writing => {
                    match written {
                        Ok(0) => return CloseReason::Eof,
                        Ok(count) => self.sent += count,
                        Err(error) => return CloseReason::Io(error.kind()),
                    }
                }
                request = self.requests.recv(), if deadline.is_none() => match request {
                    Some(request) => self.begin(request),
                    None => return CloseReason::Dropped,
                },
                command = expired(deadline) => return CloseReason::TimedOut { command },
                () = self.events.catch_up(), if self.events.missed > 0 => {}
            }
        }
    }

    /// Makes a request the command in flight.
    fn begin(&mut self, Request { command, limit, answer }: Request) {
        trace!(command = command.keyword, "sending");
        self.outgoing = command.bytes;
        self.sent = 0;
        let deadline = Instant::now() + limit;
        self.in_flight = Some(InFlight { keyword: command.keyword, limit, deadline, answer });
    }

    /// Handles bytes from tor.
    fn received(&mut self, mut bytes: &[u8]) -> Result<(), CloseReason> {
        while let Some(reply) = self.decoder.decode(&mut bytes)? {
            if reply.is_event() {
                self.events.push(reply);
                continue;
            }
            // An answer to a command that tor has not read to its end is an answer to something else.
            let whole = self.sent == self.outgoing.len();
            let in_flight = self.in_flight.take().filter(|_| whole).ok_or(CloseReason::Unasked)?;
            trace!(command = in_flight.keyword, status = reply.status, "answered");
            self.outgoing = Zeroizing::new(Vec::new());
            self.sent = 0;
            let _ = in_flight.answer.send(Ok(reply));
        }
        Ok(())
    }
}

/// Resolves when the time of the command in flight is over; never if there is none.
async fn expired(deadline: Option<(&'static str, Instant)>) -> &'static str {
    match deadline {
        Some((keyword, at)) => {
            sleep_until(at).await;
            keyword
        }
        None => std::future::pending().await,
    }
}

/// The queue of events. It never makes the connection wait: what does not fit is counted, and the reader is told
/// at that very place of the stream.
struct EventQueue {
    sender: mpsc::Sender<TorEvent>,
    /// Events lost since the last one that fitted.
    missed: u64,
}

impl EventQueue {
    /// Queues an event.
    fn push(&mut self, reply: Reply) {
        let event = match event::parse(reply) {
            Ok(event) => event,
            Err(error) => {
                debug!(%error, "event counted as missed");
                self.missed += 1;
                return;
            }
        };
        if self.missed > 0 && self.sender.try_send(TorEvent::Missed { count: self.missed }).is_ok() {
            self.missed = 0;
        }
        if self.missed > 0 || matches!(self.sender.try_send(event), Err(mpsc::error::TrySendError::Full(_))) {
            self.missed += 1;
        }
    }

    /// Tells the reader of lost events as soon as there is room.
    async fn catch_up(&mut self) {
        // An error means that nobody reads events.
        if let Ok(place) = self.sender.reserve().await {
            place.send(TorEvent::Missed { count: self.missed });
        }
        self.missed = 0;
    }

    /// Hands over the last events, waiting for the reader as long as there is one.
    async fn finish(mut self, reason: CloseReason) {
        if self.missed > 0 {
            self.catch_up().await;
        }
        let _ = self.sender.send(TorEvent::Closed { reason }).await;
    }
}
