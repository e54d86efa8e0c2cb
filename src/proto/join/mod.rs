//! Joining: how a node that was invited becomes a node of the cluster, through the onion service itself.
//!
//! ```text
//! invitation   what a new node needs, all in one        ticket   the part of it that is counted
//! secret       the path at which joining is answered    keys     what a cluster token is worth here
//! request, answer   the JSON of both sides (member: a node in it), each proven by a holder of the token
//! http         telling a join request from all others   gate     who is let in       joiner   asking until one is
//! greeting     the same way in, to ask who is there     canary   asking that again and again, to see that clients can
//! ```
//!
//! Whoever does not know the secret, hold the token and have a ticket cannot tell that joining exists: whatever is not
//! proven goes to the target like every other request, byte for byte, and what comes back is the target's answer.

pub mod answer;
pub mod canary;
pub mod gate;
pub mod greeting;
pub mod http;
pub mod invitation;
pub mod joiner;
pub mod keys;
pub mod member;
pub mod request;
pub mod secret;
pub mod ticket;
