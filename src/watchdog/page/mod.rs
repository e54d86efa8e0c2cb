//! The status page for people.
//!
//! ```text
//! document ── health        what fails, the parts, this node
//!          ├─ cluster       nodes, lease, introduction points
//!          ├─ hsdirs ── ring_picture
//!          └─ past          what has happened and was done
//! ```

mod cluster;
pub(super) mod document;
mod health;
mod hsdirs;
mod markup;
mod past;
mod ring_picture;
