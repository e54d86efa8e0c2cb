//! One typed interface per daemon over unix sockets, the caller checked by uid, frames bounded.
//!
//! The wire is Varlink's: JSON objects, each ended by a NUL byte, `{method, parameters, more}` one way and
//! `{parameters, continues}` or `{error, parameters}` the other, so that `varlinkctl call` can talk to a daemon.
//! A daemon's main loop receives its calls as values of one enum ([`publisher::PublisherCall`], [`coordinator::CoordinatorCall`],
//! [`proxy::ProxyCall`], [`watchdog::WatchdogCall`]), each with the means to answer it; everything slow or
//! hostile (partial frames, readers that do not read, strangers) stays in the connection's own task
//! ([`server`]). What its process uses ([`process`]) every daemon tells without its main loop.

pub mod call;
pub mod client;
pub mod coordinator;
pub mod frame;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod server;
pub mod watchdog;
