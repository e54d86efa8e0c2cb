//! What clients see when there is no response: the page that is built in, or the operator's own.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::proto::http::page::{MAX_TEMPLATE_BYTES, PASSING, filled, page};

/// The pages. Filled in once, whatever a target's failure costs afterwards.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    own: Option<Arc<[(u16, Bytes); PASSING.len()]>>,
}

impl Pages {
    /// With the operator's own page, if there is one.
    pub fn read(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self::default()) };
        let refuse = |reason: String| format!("{}: {reason}", path.display());
        let mut template = String::new();
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        let read = file.take(MAX_TEMPLATE_BYTES + 1).read_to_string(&mut template);
        // What is no UTF-8 text is refused here.
        read.map_err(|error| refuse(error.to_string()))?;
        if template.len() as u64 > MAX_TEMPLATE_BYTES {
            return Err(refuse(format!("it is larger than {MAX_TEMPLATE_BYTES} bytes")));
        }
        let own = PASSING.map(|status| (status, Bytes::from(filled(&template, status))));
        Ok(Self { own: Some(Arc::new(own)) })
    }

    /// The page for a status.
    pub fn page(&self, status: u16) -> Bytes {
        let own = self.own.iter().flat_map(|own| own.iter()).find(|(of, _)| *of == status);
        own.map_or_else(|| page(status).into(), |(_, page)| page.clone())
    }
}
