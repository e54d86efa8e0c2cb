//! Capabilities: a daemon asserts those it needs and gives every other one away, for ever.
//!
//! capset(2) works on one thread, so [`trim`] must run before the asynchronous runtime starts threads; it refuses
//! to pretend otherwise.

use caps::{CapSet, Capability, CapsHashSet};

/// Why the process does not have exactly the capabilities it should. It must not go on.
#[derive(Debug, thiserror::Error)]
pub enum CapabilityError {
    /// A needed capability was not granted.
    #[error("{0} is missing; grant it with AmbientCapabilities= in the unit, or start as root")]
    Missing(Capability),
    /// The process already has more than one thread, so the others would keep their capabilities.
    #[error(
        "capabilities must be trimmed before other threads start (there are {threads}); this is a mistake in rustbalance"
    )]
    TooLate {
        /// Threads found.
        threads: usize,
    },
    /// The kernel refused, or kept something it should not have.
    #[error("cannot give capabilities away ({step}): {reason}")]
    Refused {
        /// Which set was being changed.
        step: &'static str,
        /// The kernel's answer.
        reason: String,
    },
}

/// Asserts that the process holds `keep` and drops everything else from every set.
///
/// The bounding set can only be emptied while `CAP_SETPCAP` is held (a root start); otherwise the unit's
/// `CapabilityBoundingSet=` and `NoNewPrivileges=` do that job. The ambient set ends empty, so that no child process gets
/// anything; an inheritable set without it gives nobody anything, and is left alone where it has nothing but `keep`.
///
/// capset(2) is called only where something is to be given away: a unit that grants exactly `keep` need not allow it.
pub fn trim(keep: &[Capability]) -> Result<(), CapabilityError> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(CapabilityError::TooLate { threads });
    }
    let keep: CapsHashSet = keep.iter().copied().collect();
    let permitted = read(CapSet::Permitted)?;
    if let Some(missing) = keep.difference(&permitted).next() {
        return Err(CapabilityError::Missing(*missing));
    }
    if read(CapSet::Effective)?.contains(&Capability::CAP_SETPCAP) {
        for capability in read(CapSet::Bounding)?.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(refused("bounding"))?;
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(refused("ambient"))?;
    if !read(CapSet::Inheritable)?.is_subset(&keep) {
        caps::clear(None, CapSet::Inheritable).map_err(refused("inheritable"))?;
    }
    // Effective must stay within permitted at every step, so it shrinks first.
    for (set, name) in [(CapSet::Effective, "effective"), (CapSet::Permitted, "permitted")] {
        if read(set)? != keep {
            caps::set(None, set, &keep).map_err(refused(name))?;
        }
    }
    for (set, name) in [(CapSet::Effective, "effective"), (CapSet::Permitted, "permitted")] {
        if read(set)? != keep {
            return Err(CapabilityError::Refused { step: name, reason: "it differs afterwards".to_owned() });
        }
    }
    Ok(())
}

fn read(set: CapSet) -> Result<CapsHashSet, CapabilityError> {
    caps::read(None, set).map_err(refused("reading"))
}

fn refused(step: &'static str) -> impl Fn(caps::errors::CapsError) -> CapabilityError {
    move |error| CapabilityError::Refused { step, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_when_other_threads_would_keep_theirs() {
        // The test harness itself always runs this on a second thread.
        assert!(matches!(trim(&[]), Err(CapabilityError::TooLate { threads }) if threads > 1));
    }
}
