//! A node's health: what is observed of its parts, what fails, what is done about it, and when to stop trying.
//!
//! ```text
//! observation ─► vitals ─► diagnosis ─► cases ─► remedies, under a budget ─► what came of them
//!                             │           └─ what cannot be mended: alarm, explained
//!                             └─ what only follows from another failure is left alone
//! ```
//!
//! Laws, which `tests/health.rs` lives through with random failures: no part gets more remedies than its budget before it has been
//! calm; what cannot be mended ends alarmed and explained, and nothing more is done about it; what was mended ends calm.

pub mod budget;
mod causes;
pub mod core;
pub mod diagnosis;
mod explain;
pub mod failure;
pub mod fence;
pub mod part;
pub mod report;
pub mod vitals;
