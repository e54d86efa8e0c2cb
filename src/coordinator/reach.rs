//! Asking the service itself something, through Tor, as its clients do.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::proto::join::http::{HttpAnswer, MAX_RESPONSE_BYTES, Reading, read_answer};
use crate::proto::join::joiner::TryFailure;
use crate::tor::dial::SocksDialer;
use crate::tor::error::SocksError;

/// How long it may take.
#[derive(Debug, Clone, Copy)]
pub struct ReachLimits {
    /// Until the service is reached.
    pub dial: Duration,
    /// Until it has answered then.
    pub answer: Duration,
}

/// One request, over a circuit of its own.
pub async fn ask(
    dialer: &SocksDialer,
    (host, port): (&str, u16),
    request: &[u8],
    limits: ReachLimits,
) -> Result<HttpAnswer, TryFailure> {
    let stream = match dialer.dial(host, port, limits.dial).await {
        Ok(stream) => stream,
        Err(error @ SocksError::NoTor) => return Err(TryFailure::NoTor(error.to_string())),
        Err(error) => return Err(TryFailure::NoAnswer(error.to_string())),
    };
    match timeout(limits.answer, converse(stream, request)).await {
        Ok(answer) => answer.map_err(TryFailure::NoAnswer),
        Err(_) => Err(TryFailure::NoAnswer("the service did not answer in time".to_owned())),
    }
}

async fn converse(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    request: &[u8],
) -> Result<HttpAnswer, String> {
    let broke = |error: std::io::Error| format!("the connection to the service broke: {error}");
    stream.write_all(request).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;
    let mut heard = Vec::new();
    loop {
        let left = (MAX_RESPONSE_BYTES - heard.len()) as u64;
        let read = (&mut stream).take(left).read_buf(&mut heard).await.map_err(broke)?;
        match read_answer(&heard, read == 0) {
            Reading::Done(answer) => return Ok(answer),
            Reading::More => {}
            Reading::Other if heard.is_empty() => return Err("the service said nothing".to_owned()),
            Reading::Other => return Err("the service answered something that is not HTTP".to_owned()),
        }
    }
}
