//! Carries client connections from tor to the target.
//!
//! The onion port of the serving tor connects here, once per client stream. Each connection becomes one task
//! ([`connection`]): reach a target ([`link`]), the one whose turn it is ([`pool`]), over SOCKS through a tor where it is an
//! onion service ([`dial`]), and in TLS where it wants that ([`tls`]), then carry bytes both ways ([`relay`]) until both sides have ended or one of the bounds is met.
//! Meanwhile the client's first bytes are looked at ([`caller`]): a node that asks to join is answered by the coordinator
//! ([`door`]). The main loop ([`serve`]) accepts, counts ([`tally`]), answers calls, feeds the keepalive and drains; every
//! dial, and every [`probe`], tells the pool how a target is; [`settings`] is what the configuration comes to, at the start
//! and when it is read again; [`start`] is the recipe of the process.
//!
//! In HTTP mode requests are carried instead of bytes, with what both sides are called exchanged in them ([`http`]).
//!
//! Nothing about clients is logged or kept: there is nothing but numbers.

pub mod activity;
pub mod caller;
pub mod circuits;
pub mod connection;
pub mod dial;
pub mod door;
pub mod http;
pub mod link;
pub mod pool;
pub mod probe;
pub mod relay;
pub mod serve;
pub mod settings;
pub mod start;
pub mod tally;
pub mod tls;
