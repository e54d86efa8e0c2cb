//! What the two sides of an HTTP connection call each other.

use std::sync::Arc;

use http::header::{self, HeaderMap};

use crate::proto::http::authority::Authority;
use crate::proto::http::rewrite::Names;

/// What the target and the onion service are called.
#[derive(Debug, Clone)]
pub struct Naming {
    /// `None`: the target has no name of its own, and is called what the client calls the onion service.
    pub target: Option<Authority>,
    /// What the onion service is called, for a client that does not say.
    pub public: Option<String>,
}

impl Naming {
    /// The names to be exchanged in a request with these headers and in its response.
    pub fn names(&self, headers: &HeaderMap) -> Option<Arc<Names>> {
        let said = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = said.or(self.public.as_deref());
        self.target.as_ref().map(|target| Arc::new(Names::new(target, host)))
    }
}
