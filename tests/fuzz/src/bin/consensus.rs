//! A consensus and microdescriptors, with a zero byte between them.
// max_len=16384
#![no_main]

use rustbalance::tor::consensus::parse;

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let (consensus, microdescs) = text.split_once('\0').unwrap_or((text, ""));
        if let Ok(view) = parse(consensus, microdescs, data.len() % 2 == 0) {
            assert!(view.valid_after < view.fresh_until && view.fresh_until <= view.valid_until);
            assert!(view.voting_interval_secs > 0 && view.period_length_minutes > 0);
            assert!(view.params.replicas > 0 && view.params.spread_store > 0 && view.params.spread_fetch > 0);
            // Each HSDir needs an `r` line and a microdescriptor of its own size.
            assert!(view.hsdirs.len() * 27 <= consensus.len());
            assert!(view.hsdirs.is_empty() || microdescs.contains("\nid ed25519 "));
            let _ = view.slots();
        }
    }
});
