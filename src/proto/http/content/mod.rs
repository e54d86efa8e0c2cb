//! What changes in pages, styles and pictures on their way, if the operator wants that: absolute URLs of the target.
//!
//! ```text
//! response's headers ──► eligible ──► decoded body ──► html ──► encoded body ──► client
//!                        which, how                     │ attributes, <style>, <noscript>
//!                                                       ▼
//!                                             css ──► urls: `https://target:81` ──► `http://onion`
//! ```
//!
//! [`urls`] finds `scheme://host:port` in a stream of bytes, however it is cut, and gives it to the same exchange of names
//! that headers go through. [`html`] leads it to where URLs of a page are; a style sheet goes through it as a whole.
//! [`eligible`] says which responses these are, and keeps their headers true.
//!
//! What stays as it is, byte for byte: scripts and their event handlers, JSON, visible text, comments, what forms send
//! back (`value`), and everything in which no target's name stands. A script that puts a URL together from pieces cannot
//! be seen through, and one that is changed may not be the one that a policy allows.

pub mod eligible;
pub mod html;
pub mod urls;
