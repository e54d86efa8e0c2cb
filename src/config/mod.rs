//! The configuration file: TOML in, typed and validated values out.
//!
//! One file serves all daemons of a node; each asks for the sections it needs ([`file::Config::proxy`] and so on),
//! so a missing section is named together with the daemon that misses it. Parsing goes straight into types that
//! cannot hold a bad value; what is left to check across keys is checked in [`mod@file`] with the same kind of error:
//! file, line, key, reason. No secret stands in the file in the clear: it has paths, or sealed values ([`secret::Secret`]).

pub mod circuits;
pub mod cluster;
pub mod endpoint;
pub mod file;
pub mod integrity;
pub mod ipc;
pub mod join;
pub mod log;
pub mod mesh;
pub mod node;
pub mod proxy;
pub mod publisher;
pub mod reload;
pub mod seconds;
pub mod secret;
pub mod secret_file;
pub mod target;
pub mod tor;
pub mod vault;
mod wrong;
