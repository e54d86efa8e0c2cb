//! Carrying a client's requests, one by one, instead of its bytes (`mode = "http"`).
//!
//! ```text
//! client ──► caller ──► gate ──► hyper's server ──► exchange ──► lane: hyper's client ──► target
//!            a node that    checks every byte           │  rules of `proto::http` both ways
//!            asks to join   before hyper reads it       └─ answer: one of the pages when nothing came
//! ```
//!
//! One task carries one client connection ([`carry`]) and drives both sides of it: what a slow client does not take is not
//! read from the target, and the other way round, so no body is ever held; the two wake each other without the runtime
//! ([`local_wakes`]). Its requests go over one connection to the
//! target at a time ([`lane`]), which nobody else uses: two clients never share a circuit, and the target cannot tell by
//! its connections which requests belong to which of them.
//!
//! Where the operator wants it, pages and styles are looked through for the target's name on their way ([`rewritten`]),
//! unpacked and packed again ([`gzip`]), still piece by piece.

pub mod answer;
pub mod carry;
pub mod check;
pub mod exchange;
pub mod gate;
pub mod gzip;
pub mod lane;
pub mod local_wakes;
pub mod metered;
pub mod naming;
pub mod pages;
pub mod rewritten;
