//! Joining: how a node that was invited becomes a node of the cluster, through the onion service itself.
//!
//! ```text
//! invitation   what a new node needs, all in one        ticket   the part of it that is counted
//! secret       the path at which joining is answered    keys     what a cluster token is worth here
//! ```

pub mod invitation;
pub mod keys;
pub mod secret;
pub mod ticket;
