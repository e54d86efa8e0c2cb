//! Bodies on their way through, and the page for a client for whom there is no response.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pages::Pages;
use super::rewritten::{Broken, Rewritten};
use crate::proto::http::hop::clean_trailers;
use crate::proto::http::page::{CONTENT_SECURITY_POLICY, RETRY_AFTER_SECS, is_passing};
use crate::proto::http::rewrite::{Names, response_trailers};
use crate::proxy::pool::Place;

/// A client's body on its way to the target: handed on piece by piece, as the target takes it.
#[derive(Debug)]
pub struct Upload {
    body: Option<Incoming>,
    broke: Arc<AtomicBool>,
}

impl Upload {
    /// A body that sets `broke` when the client's side of it fails.
    pub fn new(body: Incoming, broke: Arc<AtomicBool>) -> Self {
        Self { body: Some(body), broke }
    }

    /// No body.
    pub fn none() -> Self {
        Self { body: None, broke: Arc::default() }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let upload = self.get_mut();
        let Some(body) = &mut upload.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(Err(_)) = &frame {
            upload.broke.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| with_trailers(frame, clean_trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What a client gets.
#[derive(Debug)]
pub enum Answer {
    /// The target's body, handed on piece by piece, as the client takes it.
    Passing(Incoming, Option<Arc<Names>>, Turn),
    /// The target's body, looked through on its way.
    Rewritten(Box<Rewritten>, Turn),
    /// Bytes of ours.
    Own(Option<Bytes>),
}

/// Set as long as a response is under way, which has its place with the target until then.
#[derive(Debug)]
pub struct Turn {
    under_way: Arc<AtomicBool>,
    _place: Place,
}

impl Turn {
    /// A response begins.
    pub fn begin(under_way: &Arc<AtomicBool>, place: Place) -> Self {
        under_way.store(true, Ordering::Relaxed);
        Self { under_way: Arc::clone(under_way), _place: place }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.store(false, Ordering::Relaxed);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passing(body, names, _) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                let change = |trailers: &mut HeaderMap| response_trailers(trailers, names.as_deref());
                let frame = frame.map(|frame| frame.map(|frame| with_trailers(frame, change)));
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)))
            }
            Self::Rewritten(body, _) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Rewritten(body, _) => body.is_end_stream(),
            Self::Passing(body, ..) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Rewritten(body, _) => body.size_hint(),
            Self::Passing(body, ..) => body.size_hint(),
        }
    }
}

fn with_trailers(frame: Frame<Bytes>, change: impl FnOnce(&mut HeaderMap)) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            change(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The page for this status. The connection ends with it: what else the client sent, or is sending, is not read.
pub fn own_page(status: u16, pages: &Pages) -> Response<Answer> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Response::new(Answer::Own(Some(pages.page(status.as_u16()))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONNECTION, "close"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_passing(status.as_u16()) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(header::ALLOW, allowed);
    }
    response
}

/// The page for a client who is turned away before it says anything, as it goes over the wire.
pub fn page_bytes(status: u16, pages: &Pages) -> Vec<u8> {
    let response = own_page(status, pages);
    let body = pages.page(response.status().as_u16());
    let mut bytes =
        format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", response.status(), body.len()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend([b"\r\n", &body[..]].concat());
    bytes
}

/// Whether a request may be sent a second time when nothing is known about the first (RFC 9110 section 9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}
