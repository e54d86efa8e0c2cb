//! Clients of an onion service have no addresses; what can be told apart is the circuit that each comes over.
//!
//! ```text
//! PROXY TCP6 fc00:dead:beef:4dad::… ──► line: which circuit ──► limiter: may it ask for one more? ──► Pass
//!                                                                          │ no                  ╰──► Refuse
//!                                                                          ╰ again and again ────────► Close
//! ```
//!
//! Tor writes the line where its torrc says `HiddenServiceExportCircuitID haproxy`.

pub mod limiter;
pub mod line;
