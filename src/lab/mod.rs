//! `rustbalance-lab`: a private Tor network, nodes, a target and clients in namespaces, and scenes that hurt them.
//!
//! ```text
//! rustbalance-lab            front: arguments, requirements; waits, writes --json
//! └ @enter                   namespaces: own user, mount, network and pid namespace, /run on a tmpfs
//!   └ @init                  process 1 in there: reaps; when it goes, everything goes
//!     └ @inside              stage: wires, Tor network, nodes, scenes, table
//!       ├ tor …              authorities, relays, target, clients        (supervisor)
//!       ├ @hold              keeps a node's network and mount namespace   (place)
//!       └ @join … daemon     a node's tors and daemons                    (place, supervisor)
//! ```
//!
//! Every line is the same program, started again with a role as its first argument, because entering namespaces
//! needs a process with one thread. Each carries a parent-death signal, so that even `kill -9` of the outermost
//! leaves nothing: processes die with process 1, interfaces with the network namespace, files with the tmpfs.

pub mod arguments;
mod babysit;
mod build;
mod client;
mod cluster;
mod content;
mod control;
mod download;
mod errand;
mod error;
pub mod front;
mod ground;
mod hindrance;
mod machine;
mod matrix;
mod measure;
mod name;
mod namespaces;
mod node;
mod node_files;
mod observer;
mod place;
mod plan;
mod pool;
mod report;
mod requirements;
mod role;
mod rotations;
pub mod scene_name;
mod scenes;
mod screen;
mod service_manager;
mod sever;
mod stage;
mod supervisor;
mod target;
mod tor_network;
mod torrc;
mod traffic;
mod unit;
mod unit_file;
mod web_socket;
mod wires;
mod world;
