//! A target's body that is looked through on its way (`rewrite_content`): unpacked, changed, packed again.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HeaderMap;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::gzip::{Packing, Unpacking};
use crate::proto::http::content::eligible::{Eligible, Kind, trailers};
use crate::proto::http::content::html::Html;
use crate::proto::http::content::urls::Urls;
use crate::proto::http::rewrite::{Names, response_trailers};

/// Bodies that are looked through at once: each holds two windows of gzip, and a tag that is not whole, so together at most
/// half of the 256 MiB that the service may have.
pub const PLACES: usize = 128;
/// How much is unpacked at once.
const PIECE_BYTES: usize = 16 * 1024;
/// After so many pieces of which nothing came others have their turn: what is packed well takes long.
const PIECES_AT_ONCE: usize = 16;

/// Why a body ended before its end: the target's connection broke, or what it sent cannot be unpacked.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A body on its way.
pub struct Rewritten {
    body: Incoming,
    names: Arc<Names>,
    unpacking: Unpacking,
    piece: Box<[u8]>,
    content: Content,
    packing: Packing,
    trailers: Option<HeaderMap>,
    /// Everything has been given but the trailers.
    done: bool,
    _place: OwnedSemaphorePermit,
}

/// What is changed.
enum Content {
    Page(Box<Html>),
    Sheet(Urls),
}

impl Content {
    fn new(kind: Kind, names: Arc<Names>) -> Self {
        match kind {
            Kind::Page => Self::Page(Box::new(Html::new(names))),
            Kind::Sheet => Self::Sheet(Urls::new(names)),
        }
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Page(html) => html.push(bytes, out),
            Self::Sheet(urls) => urls.push(bytes, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Page(html) => html.finish(out),
            Self::Sheet(urls) => urls.finish(out),
        }
    }
}

/// What became of an attempt to go on.
enum Step {
    /// Bytes for the client, if there are any.
    Gave(Bytes),
    /// Bytes of the target are missing.
    Hungry,
}

impl Rewritten {
    /// A body that begins, in one of the [`PLACES`].
    pub fn new(body: Incoming, what: Eligible, names: Arc<Names>, place: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            unpacking: Unpacking::new(what.gzip),
            piece: vec![0; PIECE_BYTES].into(),
            content: Content::new(what.kind, Arc::clone(&names)),
            packing: Packing::new(what.gzip),
            names,
            trailers: None,
            done: false,
            _place: place,
        }
    }

    /// Works on what has come.
    fn step(&mut self) -> io::Result<Step> {
        let mut out = Vec::new();
        match self.unpacking.read(&mut self.piece)? {
            None => Ok(Step::Hungry),
            Some(0) => {
                self.done = true;
                self.content.finish(&mut out);
                let begin = self.packing.write(out)?;
                let end = self.packing.finish()?;
                Ok(Step::Gave(if end.is_empty() { begin } else { [begin, end].concat().into() }))
            }
            Some(length) => {
                self.content.push(&self.piece[..length], &mut out);
                self.packing.write(out).map(Step::Gave)
            }
        }
    }

    /// Takes what the target says next; false if it says nothing for now.
    fn poll_target(&mut self, cx: &mut Context<'_>) -> Result<bool, hyper::Error> {
        match Pin::new(&mut self.body).poll_frame(cx)? {
            Poll::Pending => return Ok(false),
            Poll::Ready(None) => self.unpacking.end(),
            Poll::Ready(Some(frame)) => match frame.into_data() {
                Ok(bytes) => self.unpacking.feed(bytes),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            },
        }
        Ok(true)
    }

    fn take_trailers(&mut self) -> Option<Frame<Bytes>> {
        let mut all = self.trailers.take()?;
        response_trailers(&mut all, Some(&self.names));
        trailers(&mut all);
        Some(Frame::trailers(all))
    }
}

impl Body for Rewritten {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let rewritten = self.get_mut();
        let mut pieces = 0;
        while pieces < PIECES_AT_ONCE {
            if rewritten.done {
                return Poll::Ready(rewritten.take_trailers().map(Ok));
            }
            let ready = match rewritten.step()? {
                Step::Gave(bytes) => {
                    pieces += 1;
                    bytes
                }
                Step::Hungry if rewritten.poll_target(cx)? => continue,
                Step::Hungry => {
                    let ready = rewritten.packing.flush()?;
                    if ready.is_empty() {
                        return Poll::Pending;
                    }
                    ready
                }
            };
            if !ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(ready))));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewritten").field("done", &self.done).finish_non_exhaustive()
    }
}
