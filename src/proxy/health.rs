//! Whether the target can be reached, as every dial tells.

use tokio::sync::watch;

use crate::ipc::proxy::FailureReason;

/// So many failures in a row are not bad luck any more (seed section 7, 2.1).
const FAILURES: u32 = 3;
/// What the last dials told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Dials {
    failures: u32,
    /// The last one's reason.
    reason: Option<FailureReason>,
}

/// The target's health. It counts as well until dials say otherwise.
#[derive(Debug, Default)]
pub struct Health {
    dials: watch::Sender<Dials>,
}

impl Health {
    /// A dial has ended so.
    pub fn note(&self, outcome: Result<(), FailureReason>) {
        self.dials.send_if_modified(|dials| {
            let before = *dials;
            *dials = match outcome {
                Ok(()) => Dials::default(),
                Err(reason) => Dials { failures: before.failures.saturating_add(1), reason: Some(reason) },
            };
            *dials != before
        });
    }

    /// How many dials have failed in a row, and each change of that.
    pub fn failures(&self) -> Failures {
        Failures(self.dials.subscribe())
    }

    /// Whether the target is well, and if not, why.
    pub fn verdict(&self) -> Result<(), FailureReason> {
        let dials = *self.dials.borrow();
        match dials.reason {
            Some(reason) if dials.failures >= FAILURES => Err(reason),
            _ => Ok(()),
        }
    }
}

/// How many dials have failed in a row.
pub struct Failures(watch::Receiver<Dials>);

impl Failures {
    /// Whether the last dial failed.
    pub fn any(&mut self) -> bool {
        self.0.borrow_and_update().failures > 0
    }

    /// Waits until a dial fails, as long as [`Failures::any`] said that none has. Safe to drop in a `select!`.
    pub async fn begin(&mut self) {
        // The other end lives as long as the dialer, which outlives everybody who dials.
        if self.0.wait_for(|dials| dials.failures > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_an_illness_and_one_success_is_the_cure() {
        let (health, gone) = (Health::default(), FailureReason::TargetUnreachable);
        assert_eq!(health.verdict(), Ok(()));
        for outcome in [Err(gone), Err(gone), Ok(()), Err(gone), Err(gone)] {
            health.note(outcome);
            assert_eq!(health.verdict(), Ok(()));
        }
        health.note(Err(FailureReason::ConnectTimedOut));
        assert_eq!(health.verdict(), Err(FailureReason::ConnectTimedOut));
        health.note(Err(gone));
        assert_eq!(health.verdict(), Err(gone));
        health.note(Ok(()));
        assert_eq!(health.verdict(), Ok(()));
    }
}
