//! The v3 onion service protocol (`rend-spec-v3`): keys, periods, hash ring, descriptors.
//!
//! From the address or the secret key ([`address`], [`identity`]) and a consensus ([`network`]) follow the two live
//! periods ([`period`], [`shared_random`]), for each of them a blinded key ([`blinding`]), the relays that store its
//! descriptor ([`hsdir`], [`ring`]) and the counter that orders its descriptors ([`counter`]).

pub mod address;
pub mod blinding;
pub mod certificate;
pub mod counter;
pub mod descriptor;
pub mod hsdir;
pub mod identity;
pub mod network;
pub mod period;
pub mod ring;
pub mod shared_random;
pub mod signing;
