//! What probes ask a target for, and which answer a well one gives.

use http::header::{self, HeaderValue};
use http::{Request, Uri};
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;

use super::answer::Upload;
use crate::proto::http::authority::Authority;
use crate::proxy::tls::TargetStream;

/// Most that is read of the answer at once, and so its longest head.
const READ_BYTES: usize = 16 * 1024;

/// The question.
#[derive(Debug)]
pub struct Check {
    path: Uri,
    /// The status of the right answer; `None`: any that is no error.
    status: Option<u16>,
}

impl Check {
    /// Asks for this path.
    pub fn new(path: Uri, status: Option<u16>) -> Self {
        Self { path, status }
    }

    /// Whether a target of this name gives the right answer. The caller has a time-out.
    pub async fn ask(&self, target: TargetStream, name: Option<&Authority>) -> bool {
        let handshake = Builder::new().max_buf_size(READ_BYTES).handshake::<_, Upload>(TokioIo::new(target));
        let Ok((mut sender, connection)) = handshake.await else { return false };
        let asked = sender.send_request(self.request(name));
        tokio::pin!(asked);
        let answer = tokio::select! {
            answer = &mut asked => answer,
            // It is over, with or without an answer.
            _ = connection => asked.await,
        };
        answer.is_ok_and(|answer| self.accepts(answer.status().as_u16()))
    }

    fn accepts(&self, status: u16) -> bool {
        self.status.map_or((200..400).contains(&status), |expected| status == expected)
    }

    fn request(&self, name: Option<&Authority>) -> Request<Upload> {
        let mut request = Request::new(Upload::none());
        *request.uri_mut() = self.path.clone();
        let host = name.and_then(|name| HeaderValue::try_from(name.text()).ok());
        let headers = request.headers_mut();
        headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        request
    }
}
