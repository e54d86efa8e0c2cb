//! HTTP on a unix socket: the metrics for machines, the status page for people. Whoever may open the socket may read.

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{metrics, page};
use crate::proto::health::report::HealthReport;
use crate::sys::clock::unix_secs;

/// Connections at once: a monitor and some people. The next one waits in the listener.
const MAX_CONNECTIONS: usize = 16;
/// How long a whole connection may last: each carries a request or two.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Longest head, in bytes: a browser's has less than a thousand.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Pause after a failed accept: out of files, trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The body of an answer.
type Body = http_body_util::Full<Bytes>;

/// Answers for ever. Dropping the future closes all connections.
pub(super) async fn serve(listener: UnixListener, node: String, health: watch::Receiver<HealthReport>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => _ = connections.spawn(converse(stream, node.clone(), health.clone())),
                Err(error) => {
                    warn!(%error, "the socket for metrics cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: UnixStream, node: String, health: watch::Receiver<HealthReport>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let answered = answer(&request, &node, &health.borrow());
        std::future::ready(Ok::<_, Infallible>(answered))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD_BYTES);
    // Whatever went wrong, the connection is closed, and the other side knows why as well as we do.
    let _ = timeout(CONNECTION_LIMIT, http.serve_connection(TokioIo::new(stream), answer)).await;
}

fn answer<B>(request: &Request<B>, node: &str, health: &HealthReport) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/" => {
            let html = page::html(node, health, unix_secs());
            let mut answer = with_type(StatusCode::OK, html, page::CONTENT_TYPE);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
            answer
        }
        "/metrics" => with_type(StatusCode::OK, metrics::text(health), metrics::CONTENT_TYPE),
        _ => plain(StatusCode::NOT_FOUND, "there are / and /metrics\n"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    with_type(status, text.to_owned(), "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, text: String, kind: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pages_can_be_read_and_nothing_else_done() {
        let ask = |method: Method, path: &str| {
            let mut request = Request::new(());
            *request.method_mut() = method;
            *request.uri_mut() = path.parse().unwrap();
            answer(&request, "alpha", &HealthReport::default())
        };
        let page = ask(Method::GET, "/");
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], page::CONTENT_TYPE);
        assert!(page.headers().contains_key(CONTENT_SECURITY_POLICY));
        assert_eq!(ask(Method::HEAD, "/metrics").headers()[CONTENT_TYPE], metrics::CONTENT_TYPE);
        assert_eq!(ask(Method::GET, "/etc/passwd").status(), StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::POST, "/metrics").status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
