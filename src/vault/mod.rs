//! The vault: secrets sealed under a passphrase, as text that survives mail and copying.
//!
//! [`passphrase`] is what the operator types, [`cost`] makes a key of it (Argon2id), [`sealed`] encrypts under that key
//! (AES-256-GCM), [`armour`] and [`field`] are the two written forms: a whole file, and one line for a value inside
//! another file ([`form`] tells which). [`terminal`] asks for a passphrase where nobody can read along, [`opener`] opens the
//! secrets of a configuration.

pub mod armour;
pub mod cost;
pub mod field;
pub mod form;
pub mod opener;
pub mod passphrase;
pub mod sealed;
pub mod terminal;
