//! One row: a failure, and where it is shown.

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
    /// Where that is shown.
    pub(in crate::lab) shown: Shown,
}

/// Where a failure is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab) enum Shown {
    /// A scene of the lab injects it into real parts and measures.
    Lab {
        /// The scene.
        scene: SceneName,
        /// How its measurement ends: from the failure until clients meet nothing of it.
        clear: &'static str,
        /// How the other one ends: until all is as before.
        mended: Option<&'static str>,
    },
    /// A virtual machine with real systemd: `tests/vm/run NAME`, and the part of it.
    Vm(&'static str, &'static str),
    /// Tests that are no whole system.
    Test(&'static str),
}

impl Row {
    /// Shown by a scene of the lab.
    pub(super) const fn lab(
        id: &'static str,
        failure: &'static str,
        scene: SceneName,
        clear: &'static str,
    ) -> Self {
        Self::shown(id, failure, Shown::Lab { scene, clear, mended: None })
    }

    /// Shown elsewhere.
    pub(super) const fn shown(id: &'static str, failure: &'static str, shown: Shown) -> Self {
        Self { id, failure, seed: None, limit: None, shown }
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
        match self.shown {
            Shown::Lab { scene, clear, .. } => {
                Self { shown: Shown::Lab { scene, clear, mended: Some(what) }, ..self }
            }
            _ => self,
        }
    }
}
