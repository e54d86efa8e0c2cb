//! What the two sides of an HTTP connection call each other.

use std::sync::Arc;

use http::header::{self, HeaderMap};

use crate::proto::http::authority::Authority;
use crate::proto::http::rewrite::Names;

/// What the onion service is called, and what its targets are.
#[derive(Debug, Clone)]
pub struct Naming {
    /// For a client that does not say.
    pub public: Option<String>,
    /// All names and addresses of all targets, none of which a client should see.
    pub targets: Arc<[Authority]>,
}

impl Naming {
    /// The names to be exchanged in a request with these headers to a target of this name, and in its response; none where
    /// no target has one.
    pub fn names(&self, target: Option<&Authority>, headers: &HeaderMap) -> Option<Arc<Names>> {
        let said = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = said.or(self.public.as_deref());
        let any = target.is_some() || !self.targets.is_empty();
        any.then(|| Arc::new(Names::new(target, &self.targets, host)))
    }
}
