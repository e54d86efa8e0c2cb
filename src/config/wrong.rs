//! What a check finds that looks at more than one key.

/// A finding: the key it is about, and why.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The parts of the dotted key.
    pub(super) key: Vec<String>,
    /// What is wrong and what would be right.
    pub(super) reason: String,
}

/// The finding, as a check gives it.
pub(super) fn wrong<const N: usize>(key: [&str; N], reason: impl Into<String>) -> Result<(), Wrong> {
    Err(Wrong { key: key.map(str::to_owned).to_vec(), reason: reason.into() })
}
