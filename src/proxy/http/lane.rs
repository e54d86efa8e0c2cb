//! One client's connection to the target: opened when it is first needed, used again while it lasts.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::answer::Upload;
use super::metered::{Meter, Metered, Side};
use crate::ipc::proxy::FailureReason;
use crate::proto::balance::member::MemberId;
use crate::proxy::activity::QuietWatch;
use crate::proxy::dial::Dialer;
use crate::proxy::link::Link;
use crate::proxy::pool::{Place, Pool};

/// How long the connection may take to become free behind a response that has arrived whole. It takes no time; but a
/// request body that the target did not want may still be on its way, and then another connection is quicker.
const FREE_LIMIT: Duration = Duration::from_millis(50);

/// Most that is read from the target at once, and so the longest head of a response. A thousand clients who take their time
/// make us hold two of these each.
const READ_BYTES: usize = 32 * 1024;

/// A connection to the target as the library sees it.
pub type TargetIo = TokioIo<Metered<Link>>;

/// The library's work on a connection.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// The way to the target of one client connection.
pub struct Lane {
    open: Mutex<Option<Open>>,
    /// Polled apart from the sender, which waits while this works.
    driver: Mutex<Option<Driver>>,
    /// Has [`Lane::drive`] called.
    wake_driver: Waker,
    /// Of the time since a byte moved.
    quiet: Mutex<QuietWatch>,
}

/// A connection that can take a request.
pub struct Open {
    sender: SendRequest<Upload>,
    heard: Arc<AtomicBool>,
    reused: bool,
    target: MemberId,
    /// The way to its target.
    pub dialer: Arc<Dialer>,
}

/// How sending a request failed.
#[derive(Debug)]
pub enum SendError {
    /// No byte moved for too long.
    Silent,
    /// The connection broke, after the target had said something or not.
    Broke {
        /// Whether the connection had carried a request before.
        reused: bool,
        /// Whether a byte of the response had come.
        heard: bool,
        /// The request, if nothing of it was sent.
        unsent: Option<Box<Request<Upload>>>,
    },
}

impl SendError {
    /// Why, in the words of the counters.
    pub fn reason(self) -> FailureReason {
        match self {
            Self::Silent => FailureReason::Idle,
            Self::Broke { .. } => FailureReason::TargetBroke,
        }
    }
}

impl Lane {
    /// A lane without a connection. `wake_driver` has [`Lane::drive`] called, as there is one.
    pub fn new(wake_driver: Waker) -> Self {
        Self { open: Mutex::default(), driver: Mutex::default(), wake_driver, quiet: Mutex::default() }
    }

    /// Works on the connection, as far as it can without waiting. To be called whenever it is woken.
    pub fn drive(&self, cx: &mut Context<'_>) {
        let mut driver = lock(&self.driver);
        if let Some(connection) = &mut *driver
            && connection.as_mut().poll(cx).is_ready()
        {
            // However it ended: whoever waits for a response is told.
            *driver = None;
        }
    }

    /// The connection for the next request, and the request's place with the target: the connection that is open, or a new
    /// one to a target that has not failed the request.
    pub async fn ready(
        &self,
        pool: &Arc<Pool>,
        meter: &Meter,
        failed: &[MemberId],
    ) -> Result<(Open, Place), FailureReason> {
        if let Some(open) = self.free().await
            && let Some(place) = pool.place_again(open.target)
        {
            return Ok((Open { reused: true, ..open }, place));
        }
        // In a box of its own, as few requests need it: with room for it, every request's future would be thrice as large.
        Box::pin(self.open(pool, meter, failed)).await
    }

    /// Sends a request and waits for the head of the response, as long as bytes move: no longer than `idle` without one.
    pub async fn send(
        &self,
        mut open: Open,
        request: Request<Upload>,
        meter: &Meter,
        idle: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        open.heard.store(false, Ordering::Relaxed);
        // Reaching the target had bounds of its own.
        meter.activity.note();
        let sent = tokio::select! {
            sent = open.sender.try_send_request(request) => sent,
            () = poll_fn(|cx| lock(&self.quiet).poll(cx, &meter.activity, idle)) => return Err(SendError::Silent),
        };
        let heard = open.heard.load(Ordering::Relaxed);
        let response = sent.map_err(|mut error: TrySendError<_>| SendError::Broke {
            reused: open.reused,
            heard,
            unsent: error.take_message().map(Box::new),
        });
        if response.is_ok() {
            *lock(&self.open) = Some(open);
        }
        response
    }

    /// The connection that is open already, if it can take another request.
    async fn free(&self) -> Option<Open> {
        let mut open = lock(&self.open).take()?;
        if open.sender.is_ready() {
            return Some(open);
        }
        let ready = timeout(FREE_LIMIT, open.sender.ready()).await;
        matches!(ready, Ok(Ok(()))).then_some(open)
    }

    async fn open(
        &self,
        pool: &Arc<Pool>,
        meter: &Meter,
        failed: &[MemberId],
    ) -> Result<(Open, Place), FailureReason> {
        // One that was open before is closed by this: two at once would be a file more.
        *lock(&self.driver) = None;
        let (link, place) = Link::open(pool, failed).await?;
        let (dialer, target) = (Arc::clone(link.dialer()), place.id());
        let stream = Metered::new(link, meter.clone(), Side::Target);
        let heard = stream.heard();
        let handshake = Builder::new().max_buf_size(READ_BYTES).handshake::<_, Upload>(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|_| FailureReason::TargetBroke)?;
        *lock(&self.driver) = Some(Box::pin(connection.with_upgrades()));
        self.wake_driver.wake_by_ref();
        Ok((Open { sender, heard, reused: false, target, dialer }, place))
    }
}

/// Nothing that holds these locks can panic half-way: what they guard is whole in any case.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
