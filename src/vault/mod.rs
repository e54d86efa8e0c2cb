//! The vault: secrets sealed under a passphrase, as text that survives mail and copying.
//!
//! [`passphrase`] is what the operator types, [`cost`] makes a key of it (Argon2id), [`sealed`] encrypts under that key
//! (AES-256-GCM), [`armour`] and [`field`] are the two written forms: a whole file, and one line for a value inside
//! another file. [`terminal`] asks for a passphrase where nobody can read along.

pub mod armour;
pub mod cost;
pub mod field;
pub mod passphrase;
pub mod sealed;
pub mod terminal;
