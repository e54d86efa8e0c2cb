//! `rustbalance token`: invitations into the cluster.

pub mod command;
pub mod create;
