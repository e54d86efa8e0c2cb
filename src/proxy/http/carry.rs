//! One client connection in HTTP mode, from its acceptance to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Parts};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::answer::page_bytes;
use super::exchange::Exchange;
use super::gate::Gate;
use super::lane::TargetIo;
use super::local_wakes::LocalWakes;
use super::metered::{Meter, Metered, Side};
use super::naming::Naming;
use super::pages::Pages;
use crate::ipc::proxy::FailureReason;
use crate::proto::http::head::MAX_HEAD_BYTES;
use crate::proxy::activity::Activity;
use crate::proxy::caller::{Caller, Client};
use crate::proxy::circuits::Seat;
use crate::proxy::connection::{Ending, Finish, Ways, carry_bytes, cut};
use crate::proxy::link::Link;
use crate::proxy::relay::Traffic;
use crate::tor::stream::Stream;

/// How much longer than a request's own bound the connection's is, so that the page comes before the end.
const GRACE: Duration = Duration::from_secs(1);
/// Most that the library holds of a client's bytes, and of those on their way to it: a whole head, with room for what is
/// read behind it.
const HELD_BYTES: usize = MAX_HEAD_BYTES + 4096;
/// How long, and for how many bytes, a client is listened to after the last response: a connection that is closed while
/// something unread arrives is reset, and takes the response with it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 256 * 1024;

/// The parts of the task, by what each of them waits for. The fourth waits until no more requests are wanted.
const CLIENT: usize = 0;
const TARGET: usize = 1;
const BREAK_OFF: usize = 2;
/// Their wake-ups.
type Wakes = LocalWakes<4>;

/// A client's connection as the library sees it.
type ClientIo = TokioIo<Gate<Metered<Client<Stream>>>>;

/// Answers the client's requests until one side ends the connection, or `ending` says that it has to end.
pub async fn carry(
    client: Stream,
    ways: &Ways,
    naming: Arc<Naming>,
    traffic: &Arc<Traffic>,
    seat: Option<Arc<Seat>>,
    mut ending: watch::Receiver<Ending>,
) -> Result<Finish, FailureReason> {
    let mut caller = Caller::new(client, ways.door.clone());
    match greet(&mut caller, ways.idle, &mut ending).await {
        Greeting::Client => {}
        Greeting::Answered => return Ok(Finish::Answered),
        Greeting::Nobody => return Ok(Finish::Unasked),
    }
    let meter = Meter { traffic: Arc::clone(traffic), activity: Arc::new(Activity::begin()) };
    let wakes = Wakes::default();
    let wake_driver = wakes.waker(TARGET).clone();
    let exchange = Arc::new(Exchange::new(ways, naming, meter.clone(), seat, ending.clone(), wake_driver));
    let io = TokioIo::new(Gate::new(Metered::new(caller.into_client(), meter.clone(), Side::Client)));
    let client = serve(io, &exchange, &wakes, &meter, ways.idle, &ending).await?;
    if let Some((switched, _place)) = exchange.take_switched() {
        let target = switch(switched, &exchange, ways.idle).await?;
        carry_bytes(client, target, ways.idle, traffic, ending).await?;
        return Ok(Finish::Carried);
    }
    linger(client).await;
    let finish = if exchange.is_answered() { Finish::Carried } else { Finish::Unasked };
    exchange.trouble().map_or(Ok(finish), Err)
}

/// Who is there.
enum Greeting {
    Client,
    /// A node that asked to join, and was answered.
    Answered,
    /// Nobody said anything.
    Nobody,
}

/// Finds out who calls.
async fn greet(
    caller: &mut Caller<Stream>,
    idle: Duration,
    ending: &mut watch::Receiver<Ending>,
) -> Greeting {
    let knows = tokio::select! {
        knows = timeout(idle, caller.knows_secret()) => knows,
        _ = ending.wait_for(|ending| *ending > Ending::NotYet) => Ok(false),
    };
    match knows {
        Ok(true) if caller.serve().await => Greeting::Answered,
        Ok(_) => Greeting::Client,
        Err(_) => Greeting::Nobody,
    }
}

/// Has the library serve the connection; gives it back when there are no more requests.
async fn serve(
    io: ClientIo,
    exchange: &Arc<Exchange>,
    wakes: &Wakes,
    meter: &Meter,
    idle: Duration,
    ending: &watch::Receiver<Ending>,
) -> Result<Client<Stream>, FailureReason> {
    let service = service_fn(|request: Request<Incoming>| {
        let exchange = Arc::clone(exchange);
        Box::pin(async move { Ok::<_, Infallible>(exchange.answer(request).await) })
    });
    let mut server = Builder::new()
        .header_read_timeout(None) // the gate has its own
        .max_buf_size(HELD_BYTES)
        .serve_connection(io, service);
    let mut broken_off = pin!(break_off(exchange, meter, idle + GRACE, ending.clone()));
    let mut finish = pin!(finish_wanted(ending.clone()).fuse());
    let end = poll_fn(|cx| {
        wakes.poll(cx, |part, cx| match part {
            CLIENT => server.poll_without_shutdown(cx).map_err(|error| broken(&error)),
            TARGET => {
                exchange.drive(cx);
                Poll::Pending
            }
            BREAK_OFF => broken_off.as_mut().poll(cx).map(Err),
            _ => {
                if finish.as_mut().poll(cx).is_ready() {
                    Pin::new(&mut server).graceful_shutdown();
                    wakes.waker(CLIENT).wake_by_ref();
                }
                Poll::Pending
            }
        })
    });
    let end = end.await;
    let passing = exchange.is_passing();
    let client = client_of(server.into_parts());
    match end {
        Ok(()) => Ok(client),
        Err(FailureReason::Idle) if !passing => {
            // Between two requests: both know that nothing is missing.
            Ok(client)
        }
        Err(reason) => {
            // An orderly end would look like a whole response.
            client.into_stream().reset();
            Err(exchange.trouble().unwrap_or(reason))
        }
    }
}

/// Why the connection cannot wait for its end.
async fn break_off(
    exchange: &Exchange,
    meter: &Meter,
    limit: Duration,
    mut ending: watch::Receiver<Ending>,
) -> FailureReason {
    tokio::select! {
        () = stuck(exchange, meter, limit) => FailureReason::Idle,
        () = cut(&mut ending) => FailureReason::CutByStop,
    }
}

/// Waits until no more requests are wanted.
async fn finish_wanted(mut ending: watch::Receiver<Ending>) {
    if ending.wait_for(|ending| *ending > Ending::NotYet).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until no byte has moved for too long, the time left out in which a request waits for its response.
async fn stuck(exchange: &Exchange, meter: &Meter, limit: Duration) {
    loop {
        meter.activity.quiet_for(limit).await;
        if !exchange.is_waiting() {
            return;
        }
        sleep(GRACE).await;
    }
}

/// Which side broke.
fn broken(error: &hyper::Error) -> FailureReason {
    // The response's body, which is the target's, counts as the library's user.
    if error.is_user() { FailureReason::TargetBroke } else { FailureReason::ClientBroke }
}

/// The client, with everything in front of it that was read and belongs to nobody yet.
fn client_of<S>(parts: Parts<ClientIo, S>) -> Client<Stream> {
    let (metered, held) = parts.io.into_inner().into_parts();
    metered.into_stream().with_before(&[&parts.read_buf[..], &held].concat())
}

/// The target's side of a connection that changes its protocol.
async fn switch(
    mut switched: OnUpgrade,
    exchange: &Exchange,
    limit: Duration,
) -> Result<Client<Link>, FailureReason> {
    let upgraded = poll_fn(|cx| {
        exchange.drive(cx);
        Pin::new(&mut switched).poll(cx)
    });
    let upgraded = timeout(limit, upgraded).await.map_err(|_| FailureReason::Idle)?;
    let upgraded = upgraded.map_err(|_| FailureReason::TargetBroke)?;
    let parts = upgraded.downcast::<TargetIo>().map_err(|_| FailureReason::TargetBroke)?;
    Ok(Client::new(parts.io.into_inner().into_stream()).with_before(&parts.read_buf))
}

/// Turns a client away with the page for that status.
pub async fn turn_away(client: Stream, pages: Pages, status: u16) {
    let mut client = Client::new(client);
    if matches!(timeout(LINGER, client.write_all(&page_bytes(status, &pages))).await, Ok(Ok(()))) {
        linger(client).await;
    }
}

/// Ends the connection so that the last response arrives.
async fn linger(mut client: Client<Stream>) {
    let _ = timeout(LINGER, async {
        client.shutdown().await?;
        tokio::io::copy(&mut client.take(LINGER_BYTES), &mut tokio::io::sink()).await
    })
    .await;
}
