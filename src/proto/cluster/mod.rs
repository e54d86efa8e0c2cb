//! Membership, node records, election and mesh messages.
