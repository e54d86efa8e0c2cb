//! One event of the control port, and the words and quotations that its lines are made of.
// max_len=8192
#![no_main]

use rustbalance::tor::event::{self, MAX_CONTENT_BYTES, TorEvent};
use rustbalance::tor::quoting::{quote, unquote, words};
use rustbalance::tor::reply::{Reply, ReplyLine};

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let plain: usize = words(text).map(str::len).sum();
        assert!(plain <= text.len());
        assert_eq!(text.trim_matches(' ').is_empty(), words(text).next().is_none());
        if let Some(bytes) = unquote(text) {
            assert!(bytes.len() + 2 <= text.len());
        }
        if let Some(quoted) = quote(text) {
            assert_eq!(unquote(&quoted).as_deref(), Some(data));
            assert_eq!(words(&quoted).collect::<Vec<_>>(), [quoted.as_str()]);
        }

        let (line, block) = text.split_once('\n').unwrap_or((text, ""));
        for data in [None, Some(block.to_owned())] {
            let lines = vec![ReplyLine { text: line.to_owned(), data }];
            if let Ok(TorEvent::HsDescContent(content)) = event::parse(Reply { status: 650, lines }) {
                assert!(content.text.len() <= MAX_CONTENT_BYTES);
            }
        }
    }
});
