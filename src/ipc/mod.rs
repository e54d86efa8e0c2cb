//! One typed interface per daemon over unix sockets, the caller checked by uid, frames bounded.
