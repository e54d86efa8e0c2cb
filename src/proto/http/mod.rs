//! HTTP/1.1 as a reverse proxy has to understand it: what of a request is let through, and what is changed on the way.
//!
//! ```text
//! client's bytes ──► guard ──► request ──► hop, rewrite ──► target
//!                      │ head, chunks                          │
//!                      ▼                                       ▼
//!                    page ◄──────── nothing came ◄──────── response ──► hop, rewrite, cookie ──► client
//! ```
//!
//! [`guard`] reads every byte before the HTTP library does and lets only requests through that can be read in one way
//! ([`head`], [`chunks`]): what is read differently by two programs in a row is how requests are smuggled past the first
//! one. [`hop`] takes away what is meant for the next hop only. [`rewrite`] exchanges the names of the target and of the
//! onion service ([`authority`]) in all headers, [`cookie`] in cookies, [`content`] in pages and styles. [`page`] is what a client sees when there is no
//! response to pass on.

pub mod authority;
pub mod chunks;
pub mod content;
pub mod cookie;
pub mod guard;
pub mod head;
pub mod hop;
pub mod page;
pub mod rewrite;
