//! Which of several targets the next connection goes to.
//!
//! ```text
//!            N failures in a row            a trial succeeds
//! in ──────────────────────────────► out ─────────────────────► in, with a share that grows
//!                                     └─ one trial per interval, which grows
//! ```
//!
//! The member with the fewest connections for its weight is next; where several have equally few, they take turns, as often
//! as their weights say. A member that is out gets nothing. Where all are out, nobody waits for them: all are refused, and
//! whether a member is back is found out by trials that nobody's connection depends on.
//!
//! | what failed | what becomes of the member |
//! |---|---|
//! | it could not be reached, or did not pass a probe | out, after a row that lasted a second |
//! | it ended new connections without a byte | the same, but never the last one: a client may have made it do so |
//! | this node could not even try | it stays in; this node tells the others that it finds no way |
//! | a dial that had too little time | nothing |
//!
//! Nothing grows: one entry for each member, whatever happens.

pub mod core;
pub mod member;
mod penalty;
pub mod row;
