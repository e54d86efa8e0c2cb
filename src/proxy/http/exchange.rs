//! One request and its response.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, Version, response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::{Answer, Turn, Upload, is_idempotent, own_page};
use super::lane::{Lane, Open, SendError};
use super::metered::Meter;
use super::naming::{KnownNames, Naming};
use super::pages::Pages;
use super::rewritten::Rewritten;
use crate::ipc::proxy::FailureReason;
use crate::proto::http::content::eligible::{self, Eligible, eligible, is_part};
use crate::proto::http::guard::refused_status;
use crate::proto::http::hop::{lists, upgrade};
use crate::proto::http::rewrite::{Names, request as for_target, response as for_client};
use crate::proxy::circuits::Seat;
use crate::proxy::connection::{Ending, Ways};
use crate::proxy::pool::{Place, Pool};

/// The status for who asks for too much.
const TOO_MANY: u16 = 429;
/// Most targets that one request is sent to. What makes three hang up is the request's fault.
const MOST_TARGETS: usize = 3;

/// The requests of one client connection, one after the other.
pub struct Exchange {
    pool: Arc<Pool>,
    names: KnownNames,
    pages: Pages,
    /// The connection's place among those of its circuit, if tor tells which that is.
    seat: Option<Arc<Seat>>,
    /// Where bodies are looked through, if they are.
    rewriting: Option<Arc<Semaphore>>,
    /// How long the target may be silent.
    idle: Duration,
    meter: Meter,
    ending: watch::Receiver<Ending>,
    lane: Lane,
    /// Set while the head of a response is awaited.
    waiting: AtomicBool,
    /// Set while a target's response is passed on.
    passing: Arc<AtomicBool>,
    /// Set when a target has answered.
    answered: AtomicBool,
    outcome: Mutex<Outcome>,
}

/// A request as it came.
#[derive(Clone)]
struct Asked {
    parts: Parts,
    /// What it wants to change to.
    protocol: Option<HeaderValue>,
}

impl Asked {
    /// The same, for the whole.
    fn without_range(&self) -> Self {
        let mut whole = self.clone();
        whole.parts.headers.remove(header::RANGE);
        whole.parts.headers.remove(header::IF_RANGE);
        whole
    }
}

/// A response, the names to be exchanged in it, and its place with the target.
struct Reached {
    response: Response<Incoming>,
    names: Option<Arc<Names>>,
    place: Place,
}

impl Reached {
    /// Whether this is a part of what has to be looked through as a whole.
    fn is_part(&self) -> bool {
        self.names.is_some() && is_part(self.response.status(), self.response.headers())
    }
}

/// What the requests so far came to.
#[derive(Default)]
struct Outcome {
    /// Why the last one failed.
    trouble: Option<FailureReason>,
    /// The target's side of a connection that speaks another protocol from now on, and its place there.
    switched: Option<(OnUpgrade, Place)>,
}

impl Exchange {
    /// For a connection with this meter, which `ending` tells when to finish. `wake_driver` has [`Exchange::drive`] called.
    pub fn new(
        ways: &Ways,
        naming: Arc<Naming>,
        meter: Meter,
        seat: Option<Arc<Seat>>,
        ending: watch::Receiver<Ending>,
        wake_driver: Waker,
    ) -> Self {
        Self {
            seat,
            pool: Arc::clone(&ways.pool),
            names: KnownNames::new(naming),
            pages: ways.pages.clone(),
            rewriting: ways.rewriting.clone(),
            idle: ways.idle,
            meter,
            ending,
            lane: Lane::new(wake_driver),
            waiting: AtomicBool::new(false),
            passing: Arc::default(),
            answered: AtomicBool::new(false),
            outcome: Mutex::default(),
        }
    }

    /// Works on the target's side; see [`Lane::drive`].
    pub fn drive(&self, cx: &mut Context<'_>) {
        self.lane.drive(cx);
    }

    /// Whether a request waits for its response, within bounds of its own.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the target's response is being passed on.
    pub fn is_passing(&self) -> bool {
        self.passing.load(Ordering::Relaxed)
    }

    /// Whether any target has answered anything.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Why the last request failed, if it did.
    pub fn trouble(&self) -> Option<FailureReason> {
        self.outcome().trouble
    }

    /// The target's side, if both have changed to another protocol.
    pub fn take_switched(&self) -> Option<(OnUpgrade, Place)> {
        self.outcome().switched.take()
    }

    /// Answers a request: with the target's response, or with a page.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        if self.seat.as_ref().is_some_and(|seat| !seat.may_ask()) {
            return own_page(TOO_MANY, &self.pages);
        }
        if let Some(status) = refused_status(request.method().as_str(), request.uri().path()) {
            return own_page(status, &self.pages);
        }
        let (parts, body) = request.into_parts();
        let protocol = upgrade(&parts.headers).filter(|_| body.is_end_stream());
        let switching = protocol.is_some();
        let broke = Arc::default();
        let upload = Upload::new(body, Arc::clone(&broke));
        self.waiting.store(true, Ordering::Relaxed);
        let reached = self.reach_whole(&Asked { parts, protocol }, upload).await;
        self.waiting.store(false, Ordering::Relaxed);
        match reached {
            Ok(reached) => self.pass(reached, switching),
            Err(_) if broke.load(Ordering::Relaxed) => self.fail(FailureReason::ClientBroke),
            Err(reason) => self.fail(reason),
        }
    }

    /// Sends the request; once more, for the whole, if the target gives a part of what has to be looked through as a whole.
    async fn reach_whole(&self, asked: &Asked, upload: Upload) -> Result<Reached, FailureReason> {
        let may_be_part = self.rewriting.is_some()
            && asked.parts.headers.contains_key(header::RANGE)
            && is_idempotent(&asked.parts.method)
            && upload.is_end_stream();
        let reached = self.reach(asked, upload).await?;
        if may_be_part && reached.is_part() {
            drop(reached);
            return self.reach(&asked.without_range(), Upload::none()).await;
        }
        Ok(reached)
    }

    /// Sends the request. Again, if the connection breaks before the target has said anything and nothing can have come of
    /// it: over a new one if it had been used before, to another target if it had not.
    async fn reach(&self, asked: &Asked, mut upload: Upload) -> Result<Reached, FailureReason> {
        let repeatable = is_idempotent(&asked.parts.method) && upload.is_end_stream();
        let mut failed = Vec::new();
        loop {
            let ready = self.lane.ready(&self.pool, &self.meter, &failed).await;
            // Where nobody else can be asked, the one that was has failed.
            let alone = |reason| if failed.is_empty() { reason } else { FailureReason::TargetBroke };
            let (open, place) = ready.map_err(alone)?;
            let unsent = match self.send(open, asked, upload).await {
                Ok((response, names)) => return Ok(Reached { response, names, place }),
                Err(SendError::Broke { reused, heard: false, unsent }) => {
                    if !reused {
                        failed.push(place.id());
                    }
                    unsent
                }
                Err(error) => return Err(error.reason()),
            };
            let again = unsent.map(|request| request.into_body()).or_else(|| repeatable.then(Upload::none));
            upload = again.filter(|_| failed.len() < MOST_TARGETS).ok_or(FailureReason::TargetBroke)?;
        }
    }

    async fn send(
        &self,
        open: Open,
        asked: &Asked,
        upload: Upload,
    ) -> Result<(Response<Incoming>, Option<Arc<Names>>), SendError> {
        let names = self.names.names(&open.dialer, &asked.parts.headers);
        let mut head = head_for_target(asked, names.as_deref(), &upload);
        if self.rewriting.is_some() && names.is_some() {
            eligible::request(head.headers_mut());
        }
        let response = self.lane.send(open, head.map(|()| upload), &self.meter, self.idle).await?;
        self.answered.store(true, Ordering::Relaxed);
        Ok((response, names))
    }

    /// The target's response as the client gets it.
    fn pass(&self, reached: Reached, asked: bool) -> Response<Answer> {
        let Reached { mut response, names, place } = reached;
        let protocol = upgrade(response.headers());
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let target = switches.then(|| hyper::upgrade::on(&mut response));
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        for_client(&mut parts.headers, names.as_deref());
        let rewriting = names.clone().filter(|_| self.rewriting.is_some());
        let rewriting = rewriting.and_then(|names| Some((prepare(&mut parts)?, names)));
        match (target, protocol) {
            (None, _) => {
                if body.size_hint().exact().is_none() {
                    // Whatever it says, it does not know.
                    parts.headers.remove(header::CONTENT_LENGTH);
                }
                if *self.ending.borrow() > Ending::NotYet {
                    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                let turn = Turn::begin(&self.passing, place);
                let Some((what, names)) = rewriting.filter(|_| !body.is_end_stream()) else {
                    return Response::from_parts(parts, Answer::Passing(body, names, turn));
                };
                let Some(room) = self.room() else {
                    // As when all places for connections are taken.
                    return own_page(StatusCode::SERVICE_UNAVAILABLE.as_u16(), &self.pages);
                };
                let body = Rewritten::new(body, what, names, room);
                Response::from_parts(parts, Answer::Rewritten(Box::new(body), turn))
            }
            (Some(target), Some(protocol)) if asked => {
                parts.headers.insert(header::UPGRADE, protocol);
                parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                self.outcome().switched = Some((target, place));
                Response::from_parts(parts, Answer::Own(None))
            }
            // It changes to something that nobody asked for.
            (Some(_), _) => self.fail(FailureReason::TargetBroke),
        }
    }

    /// Room for a body that is looked through, if there is any.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.rewriting.as_ref()?).try_acquire_owned().ok()
    }

    fn fail(&self, reason: FailureReason) -> Response<Answer> {
        self.outcome().trouble = Some(reason);
        let status = match reason {
            FailureReason::ClientBroke => 400,
            FailureReason::TargetBroke => 502,
            FailureReason::ConnectTimedOut | FailureReason::Idle => 504,
            _ => 503,
        };
        own_page(status, &self.pages)
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the head of a response that of one whose body is looked through; `None` if it is not.
fn prepare(parts: &mut response::Parts) -> Option<Eligible> {
    if parts.status == StatusCode::NOT_MODIFIED {
        eligible::weaken(&mut parts.headers);
    }
    let what = eligible(parts.status, &parts.headers)?;
    eligible::response(&mut parts.headers);
    Some(what)
}

/// The head of the request to the target.
fn head_for_target(asked: &Asked, names: Option<&Names>, body: &Upload) -> Request<()> {
    let Asked { parts, protocol } = asked;
    let mut head = Request::new(());
    // Of a whole URL only the path goes on: its host is the one in `Host`.
    *head.uri_mut() =
        parts.uri.path_and_query().map_or_else(|| parts.uri.clone(), |path| Uri::from(path.clone()));
    *head.method_mut() = parts.method.clone();
    let mut headers = parts.headers.clone();
    let trailers = lists(&headers, header::TE, "trailers");
    for_target(&mut headers, names);
    if !headers.contains_key(header::HOST) {
        // HTTP/1.1 wants one, and the client spoke HTTP/1.0.
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    if body.size_hint().exact().is_none() {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.append(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol.clone());
        headers.append(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    *head.headers_mut() = headers;
    head
}
