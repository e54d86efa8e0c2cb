//! The control port's byte stream: however it is cut, the same replies come out, and every one can be used.
// max_len=8192
#![no_main]

use rustbalance::tor::authentication::{ProtocolInfo, answer_challenge};
use rustbalance::tor::event;
use rustbalance::tor::reply::{FramingError, MAX_LINE_BYTES, MAX_REPLY_LINES, Reply, ReplyDecoder};

/// Decodes everything, given in pieces of `step` bytes, and hands each reply on.
fn decode(data: &[u8], step: usize, mut take: impl FnMut(Reply)) -> Option<FramingError> {
    let mut decoder = ReplyDecoder::new();
    for mut piece in data.chunks(step) {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(reply)) => take(reply),
                Ok(None) => break,
                Err(error) => return Some(error),
            }
        }
        assert!(piece.is_empty());
    }
    None
}

rustbalance_fuzz::target!(|data: &[u8]| {
    let step = data.first().map_or(1, |first| usize::from(*first).max(1));
    let mut count = 0;
    let ended = decode(data, data.len().max(1), |reply| {
        count += 1;
        assert!((1..=MAX_REPLY_LINES).contains(&reply.lines.len()));
        assert!(
            reply.lines.iter().all(|line| !line.text.contains('\n') && line.text.len() <= 3 * MAX_LINE_BYTES)
        );
        if reply.is_event() {
            let _ = event::parse(reply);
        } else {
            let _ = answer_challenge(&[1; 32], &[2; 32], &reply);
            if let Ok(info) = ProtocolInfo::parse(&reply) {
                assert!(info.cookie_file.as_ref().is_none_or(|path| path.is_absolute()));
                let _ = (info.choose(true), info.choose(false));
            }
        }
    });
    let mut cut_count = 0;
    assert_eq!(decode(data, step, |_| cut_count += 1), ended);
    assert_eq!(cut_count, count);
});
