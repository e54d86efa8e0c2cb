//! A client's bytes at the proxy: read alike whole and in pieces, nothing passes behind what is refused, and what passes
//! is read by the HTTP library's parser as ending where we say.
// max_len=2048
#![no_main]

use rustbalance::proto::http::guard::Guard;
use rustbalance::proto::http::head::{MAX_HEADERS, Refusal};

/// What passes, in the parts that pass at once, if the bytes come in pieces of this length.
fn passed(data: &[u8], piece: usize) -> (Vec<(bool, Vec<u8>)>, Option<Refusal>) {
    let (mut guard, mut held, mut parts) = (Guard::default(), Vec::new(), Vec::new());
    for more in data.chunks(piece) {
        held.extend_from_slice(more);
        loop {
            let head = guard.is_in_head();
            match guard.pass(&held) {
                Ok(0) => break,
                Ok(some) => parts.push((head, held.drain(..some).collect())),
                Err(refusal) => return (parts, Some(refusal)),
            }
        }
    }
    (parts, None)
}

fn joined(parts: &[(bool, Vec<u8>)]) -> Vec<u8> {
    parts.iter().flat_map(|(_, part)| part).copied().collect()
}

rustbalance_fuzz::target!(|data: &[u8]| {
    let (whole, refusal) = passed(data, data.len().max(1));
    let (pieces, refusal_in_pieces) = passed(data, 3);
    assert_eq!(refusal, refusal_in_pieces);
    assert!(data.starts_with(&joined(&pieces)) && joined(&pieces).starts_with(&joined(&whole)));
    for (_, head) in whole.iter().filter(|(head, _)| *head) {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let parsed = httparse::Request::new(&mut headers).parse(head);
        assert_eq!(parsed, Ok(httparse::Status::Complete(head.len())));
    }
});
