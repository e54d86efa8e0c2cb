//! What the two sides of an HTTP connection call each other.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::{self, HeaderMap, HeaderValue};

use crate::proto::http::authority::Authority;
use crate::proto::http::rewrite::Names;
use crate::proxy::dial::Dialer;

/// What the onion service is called, and what its targets are.
#[derive(Debug, Clone)]
pub struct Naming {
    /// For a client that does not say.
    pub public: Option<String>,
    /// All names and addresses of all targets, none of which a client should see.
    pub targets: Arc<[Authority]>,
}

impl Naming {
    /// The names to be exchanged in a request to a target of this name that calls the onion service so, and in its response;
    /// none where no target has one.
    fn names(&self, target: Option<&Authority>, host: Option<&HeaderValue>) -> Option<Arc<Names>> {
        let said = host.and_then(|host| host.to_str().ok());
        let host = said.or(self.public.as_deref());
        let any = target.is_some() || !self.targets.is_empty();
        any.then(|| Arc::new(Names::new(target, &self.targets, host)))
    }
}

/// The names in one connection's requests. A client hardly ever calls the onion service something else in its next one, so
/// those of the last are kept.
#[derive(Debug)]
pub struct KnownNames {
    naming: Arc<Naming>,
    last: Mutex<Option<Last>>,
}

#[derive(Debug)]
struct Last {
    dialer: Arc<Dialer>,
    host: Option<HeaderValue>,
    names: Option<Arc<Names>>,
}

impl KnownNames {
    /// None is known yet.
    pub fn new(naming: Arc<Naming>) -> Self {
        Self { naming, last: Mutex::default() }
    }

    /// The names to be exchanged in a request with these headers over this way, and in its response; none where no target has
    /// one.
    pub fn names(&self, dialer: &Arc<Dialer>, headers: &HeaderMap) -> Option<Arc<Names>> {
        let host = headers.get(header::HOST);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            last.as_ref().filter(|last| Arc::ptr_eq(&last.dialer, dialer) && last.host.as_ref() == host);
        if let Some(last) = same {
            return last.names.clone();
        }
        let names = self.naming.names(dialer.name(), host);
        // A copy of its own: the header's bytes are a part of those of the whole head, which would be kept with it.
        let host = host.and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok());
        *last = Some(Last { dialer: Arc::clone(dialer), host, names: names.clone() });
        names
    }
}
