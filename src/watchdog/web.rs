//! HTTP on a unix socket: the metrics for machines, the status page for people, and the events that keep it up to date.
//! Whoever may open the socket may read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::events::{self, STREAM_LIFE, Shown};
use super::metrics;
use super::page::document;

/// Connections at once: a monitor and some people. The next one waits in the listener.
const MAX_CONNECTIONS: usize = 16;
/// Of these, streams of events: they last, and must leave room for the monitor.
const MAX_STREAMS: usize = 8;
/// When somebody who got no stream may ask again, in seconds.
const STREAM_RETRY: HeaderValue = HeaderValue::from_static("10");
/// How long a whole connection may last that is no stream: each carries a request or two.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Longest head, in bytes: a browser's has less than a thousand.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Pause after a failed accept: out of files, trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The body of an answer.
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What is the same for all connections.
#[derive(Debug, Clone)]
struct Pages {
    shown: Shown,
    streams: Arc<Semaphore>,
}

/// Answers for ever. Dropping the future closes all connections.
pub(super) async fn serve(listener: UnixListener, shown: Shown) {
    let pages = Pages { shown, streams: Arc::new(Semaphore::new(MAX_STREAMS)) };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => _ = connections.spawn(converse(stream, pages.clone())),
                Err(error) => {
                    warn!(%error, "the socket for metrics cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: UnixStream, pages: Pages) {
    let streams = Notify::new();
    let answer = service_fn(|request: Request<Incoming>| {
        let answered = answer(&request, &pages, || streams.notify_one());
        std::future::ready(Ok::<_, Infallible>(answered))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD_BYTES);
    // Whatever went wrong, the connection is closed, and the other side knows why as well as we do.
    tokio::select! {
        _ = http.serve_connection(TokioIo::new(stream), answer) => {}
        () = limit(&streams) => {}
    }
}

/// Waits as long as a connection may last; longer once a stream has begun in it. The stream ends by itself before that, unless
/// nobody takes its end.
async fn limit(streams: &Notify) {
    if timeout(CONNECTION_LIMIT, streams.notified()).await.is_ok() {
        sleep(STREAM_LIFE + CONNECTION_LIMIT).await;
    }
}

/// The answer to a request; a stream of events is announced.
fn answer<B>(request: &Request<B>, pages: &Pages, announce: impl FnOnce()) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/" => {
            let html = pages.shown.with(|view| view.html());
            let mut answer = with_type(StatusCode::OK, html, document::CONTENT_TYPE);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(document::POLICY));
            answer
        }
        "/metrics" => {
            with_type(StatusCode::OK, metrics::text(&pages.shown.health.borrow()), metrics::CONTENT_TYPE)
        }
        "/events" => open_stream(request.method(), pages, announce),
        _ => plain(StatusCode::NOT_FOUND, "there are /, /events and /metrics\n"),
    }
}

/// A stream, if there is a place for one. It has its connection for itself.
fn open_stream(method: &Method, pages: &Pages, announce: impl FnOnce()) -> Response<Body> {
    if method == Method::HEAD {
        return with_type(StatusCode::OK, String::new(), events::CONTENT_TYPE);
    }
    let Ok(place) = Arc::clone(&pages.streams).try_acquire_owned() else {
        let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "too many read the events already\n");
        answer.headers_mut().insert(RETRY_AFTER, STREAM_RETRY);
        return answer;
    };
    announce();
    let body = StreamBody::new(events::stream(pages.shown.clone(), place));
    let mut answer = with_body(StatusCode::OK, body.boxed_unsync(), events::CONTENT_TYPE);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    with_type(status, text.to_owned(), "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, text: String, kind: &'static str) -> Response<Body> {
    with_body(status, Full::from(text).boxed_unsync(), kind)
}

fn with_body(status: StatusCode, body: Body, kind: &'static str) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
    use tokio::sync::watch;

    use super::*;
    use crate::proto::health::report::HealthReport;
    use crate::watchdog::overview::Overview;
    use crate::watchdog::page::document::tests::{cluster, overview};

    /// Longer than anything takes here, also on a busy machine.
    const PATIENCE: Duration = Duration::from_mins(1);

    /// The pages on a real socket, and those who change what they show.
    struct Node {
        health: watch::Sender<HealthReport>,
        overview: watch::Sender<Overview>,
        place: TempDir,
    }

    impl Node {
        fn start() -> Self {
            let health = watch::Sender::new(HealthReport::default());
            let overview = watch::Sender::new(overview());
            let place = TempDir::new().unwrap();
            let listener = UnixListener::bind(place.path().join("web")).unwrap();
            let shown = Shown {
                node: "alpha".to_owned(),
                health: health.subscribe(),
                overview: overview.subscribe(),
            };
            tokio::spawn(serve(listener, shown));
            Self { health, overview, place }
        }

        async fn ask(&self, method: &str, path: &str) -> Lines<BufReader<UnixStream>> {
            let mut stream = UnixStream::connect(self.place.path().join("web")).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nHost: node\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            BufReader::new(stream).lines()
        }

        /// The head of an answer, in lower case.
        async fn head(&self, method: &str, path: &str) -> String {
            head(&mut self.ask(method, path).await).await
        }
    }

    async fn head(lines: &mut Lines<BufReader<UnixStream>>) -> String {
        let mut head = String::new();
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.is_empty() {
                return head;
            }
            head.push_str(&line.to_lowercase());
            head.push('\n');
        }
    }

    /// Reads on until a line contains this.
    async fn until(lines: &mut Lines<BufReader<UnixStream>>, text: &str) {
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("it ended before {text}");
        };
        timeout(PATIENCE, found).await.unwrap();
    }

    #[tokio::test]
    async fn three_pages_can_be_read_and_nothing_else_done() {
        let node = Node::start();
        let page = node.head("GET", "/").await;
        assert!(page.starts_with("http/1.1 200") && page.contains("content-type: text/html"), "{page}");
        assert!(page.contains("content-security-policy: default-src 'none';"), "{page}");
        let metrics = node.head("HEAD", "/metrics").await;
        assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
        let events = node.head("HEAD", "/events").await;
        assert!(events.contains("content-type: text/event-stream"), "{events}");
        assert!(node.head("GET", "/etc/passwd").await.starts_with("http/1.1 404"));
        let refused = node.head("POST", "/metrics").await;
        assert!(refused.starts_with("http/1.1 405") && refused.contains("allow: get, head"), "{refused}");
    }

    #[tokio::test]
    async fn the_stream_tells_at_once_and_with_every_change_of_either_kind() {
        let node = Node::start();
        let mut stream = node.ask("GET", "/events").await;
        let head = head(&mut stream).await;
        assert!(head.contains("text/event-stream") && head.contains("no-store"), "{head}");
        until(&mut stream, "data: <p class=good>all is well</p>").await;
        until(&mut stream, "data: <tr><td>beta<td class=fair>drained").await;
        node.health.send_modify(|report| report.fenced = true);
        until(&mut stream, "does not serve, as other nodes do better").await;
        let mut news = cluster();
        news.nodes.remove(1);
        news.holder = Some("gamma".parse().unwrap());
        node.overview.send_modify(|overview| overview.cluster = Some(news));
        until(&mut stream, "gamma holds the lease").await;
    }

    #[tokio::test]
    async fn streams_leave_room_for_others_and_their_places_are_free_when_they_end() {
        let node = Node::start();
        let mut streams = Vec::new();
        for _ in 0..MAX_STREAMS {
            let mut stream = node.ask("GET", "/events").await;
            assert!(head(&mut stream).await.starts_with("http/1.1 200"));
            streams.push(stream);
        }
        let refused = node.head("GET", "/events").await;
        assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: 10"), "{refused}");
        for _ in streams.len()..MAX_CONNECTIONS {
            assert!(node.head("GET", "/metrics").await.starts_with("http/1.1 200"));
        }
        streams.pop();
        let free = async {
            while !node.head("GET", "/events").await.starts_with("http/1.1 200") {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, free).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_soon_and_a_stream_lasts() {
        let node = Node::start();
        let mut stream = node.ask("GET", "/events").await;
        let mut plain = node.ask("GET", "/metrics").await;
        let begin = tokio::time::Instant::now();
        let mut rest = String::new();
        plain.get_mut().read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("# EOF\n") && begin.elapsed() <= CONNECTION_LIMIT, "{:?}", begin.elapsed());
        until(&mut stream, ": still here").await;
        let mut lines = 0;
        while let Some(line) = stream.next_line().await.unwrap() {
            lines += usize::from(line == ": still here");
        }
        assert!(lines > 200, "{lines} pings in an hour");
        assert!(begin.elapsed() >= STREAM_LIFE, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_kept_who_takes_nothing() {
        let node = Node::start();
        let mut streams = Vec::new();
        for _ in 0..MAX_STREAMS {
            let mut stream = node.ask("GET", "/events").await;
            head(&mut stream).await;
            streams.push(stream);
        }
        let busy = node.health.clone();
        tokio::spawn(async move {
            loop {
                busy.send_modify(|report| report.fenced = !report.fenced);
                sleep(Duration::from_secs(2)).await;
            }
        });
        sleep(STREAM_LIFE + CONNECTION_LIMIT + Duration::from_secs(5)).await;
        assert!(node.head("GET", "/events").await.starts_with("http/1.1 200"), "their places are free");
    }
}
