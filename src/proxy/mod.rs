//! Carries client connections from tor to the target.
//!
//! The onion port of the serving tor connects here, once per client stream. Each connection becomes one task
//! ([`connection`]): reach the target ([`dial`], over SOCKS through a tor where the target is an onion service), then
//! carry bytes both ways ([`relay`]) until both sides have ended or one of the bounds is met. One that asks to join the
//! cluster is told apart at the door ([`doorway`]). The main loop ([`serve`]) accepts, counts ([`tally`]), tries the
//! target now and then ([`health`]), answers its socket, feeds the keepalive and drains; [`start`] is the recipe of the
//! process.
//!
//! Nothing about clients is logged or kept: there is nothing but numbers.

pub mod connection;
pub mod dial;
pub mod doorway;
pub mod health;
pub mod relay;
pub mod serve;
pub mod start;
pub mod tally;
