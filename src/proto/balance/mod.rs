//! Which of several targets the next connection goes to.
//!
//! ```text
//!            N failures in a row            a trial succeeds
//! in ──────────────────────────────► out ─────────────────────► in, with a share that grows
//!                                     └─ one trial per interval
//! ```
//!
//! The member with the fewest connections for its weight is next; where several have equally few, they take turns, as often
//! as their weights say. A member that is out gets nothing as long as another one is in. Where all are out, nobody waits
//! for them: one connection per interval and member is let through as a trial, all others are refused.
//!
//! Nothing grows: one entry for each member, whatever happens.

pub mod core;
pub mod member;
