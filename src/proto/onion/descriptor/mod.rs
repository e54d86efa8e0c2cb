//! Descriptors: what an onion service tells its clients, and how it is wrapped (`rend-spec-v3` 2.4, 2.5).
//!
//! A descriptor is three documents, each encrypted inside the one before:
//!
//! ```text
//! outer   signed by a short-lived key that the blinded key certifies; anyone may read it
//!  └─ middle   opened with the sub-credential: one entry per authorised client, or fillers
//!      └─ inner   opened with the sub-credential and, under client authorisation, a cookie:
//!                 what the service can do, and its introduction points
//! ```
//!
//! Reading goes [`outer::Outer::parse`], `verify`, [`outer::VerifiedOuter::open`]; each step refuses with an error of its
//! own. Writing is [`build::DescriptorBuilder`].

pub mod build;
mod build_keys;
pub mod capabilities;
pub mod client_auth;
pub mod document;
pub mod encryption;
pub mod hsdesc;
pub mod inner;
pub mod intro_point;
pub mod middle;
pub mod outer;
