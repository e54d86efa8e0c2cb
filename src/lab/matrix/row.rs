//! One row: a failure, where it is made, and what is measured of it.

use crate::lab::scene_name::SceneName;

/// A failure that a cluster must live with.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab) struct Row {
    /// The seed's section and the row in it; or the promise in the requirements.
    pub(in crate::lab) id: &'static str,
    /// What fails.
    pub(in crate::lab) failure: &'static str,
    /// The older system's time to recover, in seconds, where it had one.
    pub(in crate::lab) seed: Option<f64>,
    /// What it may take now, in seconds.
    pub(in crate::lab) limit: Option<f64>,
    /// Where the failure is made.
    pub(in crate::lab) made: Made,
    /// How the measurement ends that tells how long clients could meet anything of it.
    pub(in crate::lab) clear: &'static str,
    /// How the other one ends: until all is as before.
    pub(in crate::lab) mended: Option<&'static str>,
}

/// Where a failure is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lab) enum Made {
    /// In a scene of the lab.
    Lab(SceneName),
    /// In virtual machines with real systemd: by the test of this name, `tests/vm/run NAME`.
    Machines(&'static str),
}

impl Row {
    /// Made by a scene of the lab.
    pub(super) const fn lab(
        id: &'static str,
        failure: &'static str,
        scene: SceneName,
        clear: &'static str,
    ) -> Self {
        Self { id, failure, seed: None, limit: None, made: Made::Lab(scene), clear, mended: None }
    }

    /// Made by a test in virtual machines.
    pub(super) const fn machines(
        id: &'static str,
        failure: &'static str,
        test: &'static str,
        clear: &'static str,
    ) -> Self {
        Self { id, failure, seed: None, limit: None, made: Made::Machines(test), clear, mended: None }
    }

    /// What it took the older system, in seconds.
    pub(super) const fn seed(self, seconds: f64) -> Self {
        Self { seed: Some(seconds), ..self }
    }

    /// What it may take, in seconds.
    pub(super) const fn limit(self, seconds: f64) -> Self {
        Self { limit: Some(seconds), ..self }
    }

    /// How the measurement ends that tells when all was as before.
    pub(super) const fn mended(self, what: &'static str) -> Self {
        Self { mended: Some(what), ..self }
    }
}
