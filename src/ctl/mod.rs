//! The operator's tool `rustbalance`: makes nodes, asks daemons, computes and shows.

pub mod answer;
pub mod command;
pub mod completions;
pub mod daemon_error;
pub mod daemons;
pub mod drain;
pub mod error;
pub mod files;
pub mod init;
pub mod input;
pub mod inspect;
pub mod install_error;
pub mod install_key;
pub mod join;
pub mod leave;
pub mod manifest;
pub mod manuals;
pub mod moment;
pub mod names;
pub mod next_steps;
pub mod node_files;
pub mod passphrase;
pub mod rotate_token;
pub mod sealing;
pub mod status;
pub mod token;
