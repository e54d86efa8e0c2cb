//! Frames of the Varlink wire format: a JSON object and a NUL byte, of bounded length.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, Decoder, Encoder, Framed};

/// Longest frame, in bytes. The largest legal one is an order with the introduction points of the largest cluster,
/// some 2 MiB.
pub const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// A request, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub struct CallFrame {
    /// `interface.Method`, for instance `io.rustbalance.Publisher.Status`.
    pub method: String,
    /// Its parameters; an absent object is an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// Whether the caller wants a stream of replies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// A reply, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplyFrame {
    /// Name of the error, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The result, or what belongs to the error.
    #[serde(default)]
    pub parameters: Value,
    /// Whether more replies to the same call follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
}

/// Why no frame can be had from a connection. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No NUL byte within [`MAX_FRAME_BYTES`].
    #[error("a frame is longer than {MAX_FRAME_BYTES} bytes")]
    TooLong,
    /// The connection ended inside a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A connection that speaks in frames.
pub type Frames = Framed<UnixStream, FrameCodec>;

/// Wraps a connection.
pub fn frames(stream: UnixStream) -> Frames {
    Framed::new(stream, FrameCodec::default())
}

/// Splits at NUL bytes; unlike the codec it builds on, it refuses what is left over at the end of a connection.
#[derive(Debug)]
pub struct FrameCodec(AnyDelimiterCodec);

impl Default for FrameCodec {
    fn default() -> Self {
        Self(AnyDelimiterCodec::new_with_max_length(vec![0], vec![0], MAX_FRAME_BYTES))
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        self.0.decode(buffer).map_err(from_codec)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.decode(buffer)? {
            None if !buffer.is_empty() => Err(FrameError::Truncated),
            frame => Ok(frame),
        }
    }
}

impl Encoder<String> for FrameCodec {
    type Error = FrameError;

    /// The text must be JSON, which never holds a NUL byte (serde writes it as an escape).
    fn encode(&mut self, frame: String, buffer: &mut BytesMut) -> Result<(), FrameError> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong);
        }
        self.0.encode(frame, buffer).map_err(from_codec)
    }
}

fn from_codec(error: AnyDelimiterCodecError) -> FrameError {
    match error {
        AnyDelimiterCodecError::MaxChunkLengthExceeded => FrameError::TooLong,
        AnyDelimiterCodecError::Io(error) => FrameError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(chunks: &[&[u8]]) -> Result<Vec<Bytes>, FrameError> {
        let mut codec = FrameCodec::default();
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(frame) = codec.decode(&mut buffer)? {
                frames.push(frame);
            }
        }
        while let Some(frame) = codec.decode_eof(&mut buffer)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn frames_end_at_nul_wherever_the_reads_split_them() {
        assert_eq!(
            decode_all(&[b"{", b"}\0{", b"}", b"\0"]).unwrap(),
            [Bytes::from("{}"), Bytes::from("{}")]
        );
        assert_eq!(decode_all(&[b"a\0b\0c\0"]).unwrap().len(), 3);
        assert!(decode_all(&[]).unwrap().is_empty());
    }

    #[test]
    fn half_a_frame_at_the_end_is_an_error_not_a_frame() {
        assert!(matches!(decode_all(&[b"{}\0{"]), Err(FrameError::Truncated)));
    }

    #[test]
    fn length_is_bounded_both_ways() {
        let exact = vec![b'x'; MAX_FRAME_BYTES];
        assert_eq!(decode_all(&[&exact, b"\0"]).unwrap()[0].len(), MAX_FRAME_BYTES);
        assert!(matches!(decode_all(&[&exact, b"x"]), Err(FrameError::TooLong)));
        let mut codec = FrameCodec::default();
        let long = "x".repeat(MAX_FRAME_BYTES + 1);
        assert!(matches!(codec.encode(long, &mut BytesMut::new()), Err(FrameError::TooLong)));
    }

    #[test]
    fn a_nul_inside_a_string_cannot_end_the_frame() {
        let call = CallFrame { method: "a\0b".into(), parameters: None, more: false };
        assert!(!serde_json::to_string(&call).unwrap().contains('\0'));
    }
}
