//! The v3 onion service protocol (`rend-spec-v3`): keys, periods, hash ring, descriptors.

pub mod descriptor;
