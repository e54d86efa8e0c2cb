//! `rustbalance status`: what this node's daemons know of the cluster.

pub mod ages;
pub mod command;
pub mod paint;
pub mod report;
pub mod screen;
pub mod show;
pub mod table;
pub mod trouble;
mod why;
