//! Watching one tor through its control port: its events as they come, and a question twice a second, as one that hangs
//! sends no event.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::abusive::Abusive;
use crate::proto::health::part::{Part, Tor};
use crate::proto::health::vitals::{Answer, Observation, TorVitals};
use crate::tor::address::{ControlAuth, SocketAddress};
use crate::tor::controller::{ControlLimits, Controller};
use crate::tor::error::{CloseReason, ControlError};
use crate::tor::event::{EventKind, StatusEvent, TorEvent};
use crate::tor::pulse::{PULSE_EVENTS, Pulse};

/// What changes a tor's state without being asked.
const EVENTS: [EventKind; 4] =
    [EventKind::StatusClient, EventKind::StatusGeneral, EventKind::NetworkLiveness, EventKind::NewConsensus];
/// How often it is asked for a word. Together with [`ANSWER_LIMIT`] a tor that hangs is known within four seconds.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long a tor that answered before may take. It answers in milliseconds, but its one thread also verifies a
/// consensus now and then, for a second or two on a small machine.
const ANSWER_LIMIT: Duration = Duration::from_millis(3_500);
/// How long is waited once more: where the whole machine stood still, the answer may be there and only not read yet.
const LAST_CALL: Duration = Duration::from_millis(500);
/// How long one may take to say its first word: it reads all it has stored before it listens to anybody.
const FIRST_WORD_LIMIT: Duration = Duration::from_secs(20);
/// How often all is read although no event came.
const READ_EVERY: Duration = Duration::from_secs(10);
/// Between two tries to connect: a tor that was killed is back after some tenths of a second.
const AGAIN: Duration = Duration::from_millis(500);
/// What group and others may do, in a file's mode.
const OTHERS: u32 = 0o077;
/// `HiddenServiceNumIntroductionPoints`, unless it is set.
const DEFAULT_POINTS: u32 = 3;
/// A service keeps two descriptors, each with points of its own.
const DESCRIPTORS: u32 = 2;
/// Events that may wait here while tor is being asked; a service that is asked for much has some hundred circuits a second.
const WAITING_EVENTS: usize = 1024;

/// One tor, and how it is reached.
pub(super) struct Watched {
    /// What it does on this node.
    pub(super) tor: Tor,
    /// Its control port.
    pub(super) address: SocketAddress,
    /// What opens that.
    pub(super) auth: ControlAuth,
    /// Circuits that it is to close; `None` for a tor that has no clients.
    pub(super) abusive: Option<Abusive>,
}

/// Why a conversation with a tor ended.
enum End {
    /// It has gone, or says nothing more.
    Lost(Answer),
    /// Nobody listens to what is observed.
    Unheard,
}

/// Watches a tor until nobody listens.
pub(super) async fn watch(mut watched: Watched, observations: mpsc::Sender<Observation>) {
    let mut complained = false;
    loop {
        let limits =
            ControlLimits { connect: ANSWER_LIMIT, command: FIRST_WORD_LIMIT, ..ControlLimits::default() };
        let limits = ControlLimits { events: WAITING_EVENTS, ..limits };
        let end = match Controller::connect_with(&watched.address, &watched.auth, limits).await {
            Ok((controller, events)) => {
                info!(address = %watched.address, "watching tor");
                complained = false;
                converse(&mut watched, &controller, events, &observations).await
            }
            Err(error) => {
                // A tor that is away is the core's business; one that lets nobody in is a mistake of the operator's.
                if answer_of(&error) == Answer::Refuses && !complained {
                    warn!(address = %watched.address, %error, "this tor lets the watchdog not in; it is not watched");
                    complained = true;
                }
                debug!(address = %watched.address, %error, "no connection to tor");
                End::Lost(answer_of(&error))
            }
        };
        let End::Lost(answer) = end else { return };
        if observations.send(Observation::Answer(Part::Tor(watched.tor), answer)).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// What an error tells about the tor itself.
fn answer_of(error: &ControlError) -> Answer {
    match error {
        ControlError::ConnectTimedOut { .. }
        | ControlError::TimedOut { .. }
        | ControlError::Closed { reason: CloseReason::TimedOut { .. } } => Answer::Silent,
        ControlError::Connect { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Answer::Refuses
        }
        ControlError::Connect { .. } | ControlError::Closed { .. } => Answer::Away,
        // It said something that we cannot use.
        _ => Answer::Refuses,
    }
}

/// Listens and asks until the connection is lost.
async fn converse(
    watched: &mut Watched,
    controller: &Controller,
    mut events: mpsc::Receiver<TorEvent>,
    observations: &mpsc::Sender<Observation>,
) -> End {
    let wanted: Vec<EventKind> = EVENTS.into_iter().chain(PULSE_EVENTS).collect();
    if let Err(error) = controller.setevents(&wanted).await {
        return End::Lost(answer_of(&error));
    }
    let mut pulse = Pulse::of(controller).await;
    let part = Part::Tor(watched.tor);
    let (mut skew, mut known, mut read_at) = (0, None, None::<Instant>);
    let mut ask = interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = tokio::select! {
            () = named(&mut watched.abusive) => {
                if let Some(abusive) = &mut watched.abusive
                    && in_time(abusive.close(controller)).await.is_none()
                {
                    return End::Lost(Answer::Silent);
                }
                false
            }
            _ = ask.tick() => read_at.is_none_or(|at| at.elapsed() >= READ_EVERY),
            event = events.recv() => match event {
                // One that tells of the pulse only is of no further interest, unless that has changed.
                Some(event) if pulse.feel(controller, &event) => true,
                Some(TorEvent::Bandwidth { .. } | TorEvent::Circ(_)) => continue,
                Some(TorEvent::Closed { reason: CloseReason::TimedOut { .. } }) => return End::Lost(Answer::Silent),
                None | Some(TorEvent::Closed { .. }) => return End::Lost(Answer::Away),
                Some(TorEvent::StatusGeneral(status)) => {
                    skew = skew_of(&status).unwrap_or(skew);
                    true
                }
                // With a clock that is still wrong its relays say so again.
                Some(TorEvent::NewConsensus) => {
                    skew = 0;
                    true
                }
                Some(_) => true,
            },
        };
        let seen = in_time(async {
            match &known {
                Some(before) if !due => still_there(controller, before, &pulse).await,
                _ => read(watched, controller, skew, &pulse).await,
            }
        });
        let vitals = match seen.await {
            None => return End::Lost(Answer::Silent),
            Some(Err(error)) if controller.closed().is_some() => return End::Lost(answer_of(&error)),
            // An answer that cannot be used is an answer: what was known stays.
            Some(Err(error)) => {
                debug!(address = %watched.address, %error, "tor gives no usable answer");
                known
            }
            Some(Ok(vitals)) => Some(vitals),
        };
        read_at = if due || known.is_none() { Some(Instant::now()) } else { read_at };
        known = vitals;
        if observations.send(Observation::Answer(part, Answer::Answers)).await.is_err() {
            return End::Unheard;
        }
        if let Some(vitals) = known
            && observations.send(Observation::Tor(watched.tor, vitals)).await.is_err()
        {
            return End::Unheard;
        }
    }
}

/// Waits until circuits are named that this tor is to close.
async fn named(abusive: &mut Option<Abusive>) {
    match abusive {
        Some(abusive) => abusive.changed().await,
        None => std::future::pending().await,
    }
}

/// An answer, unless it does not come in time.
async fn in_time<T>(answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    match timeout(ANSWER_LIMIT, &mut answer).await {
        Ok(answer) => Some(answer),
        Err(_) => timeout(LAST_CALL, answer).await.ok(),
    }
}

/// Two questions: it answers, and says whether it has circuits and a network.
async fn still_there(
    controller: &Controller,
    before: &TorVitals,
    pulse: &Pulse,
) -> Result<TorVitals, ControlError> {
    let circuits = controller.getinfo("status/circuit-established").await? == "1";
    let cut_off = is_cut_off(controller, pulse).await?;
    Ok(TorVitals { circuits, cut_off, ..*before })
}

/// What comes from the network tells it sooner than tor does, which waits until circuits fail.
async fn is_cut_off(controller: &Controller, pulse: &Pulse) -> Result<bool, ControlError> {
    Ok(!pulse.hears() || controller.getinfo("network-liveness").await? == "down")
}

/// All that is to be known of it.
async fn read(
    watched: &Watched,
    controller: &Controller,
    skew: i64,
    pulse: &Pulse,
) -> Result<TorVitals, ControlError> {
    let bootstrap = controller.getinfo("status/bootstrap-phase").await?;
    let circuits = controller.getinfo("status/circuit-established").await? == "1";
    let cut_off = is_cut_off(controller, pulse).await?;
    // Before it has a consensus it answers with an error.
    let valid_after = controller.getinfo("consensus/valid-after").await.ok();
    let valid_until = controller.getinfo("consensus/valid-until").await.ok();
    let services = Services::of(&controller.getconf("HiddenServiceOptions").await?);
    let introductions = controller.circuits().await?.iter().filter(|circuit| circuit.introduces()).count();
    Ok(TorVitals {
        bootstrap_percent: percent(&bootstrap).unwrap_or(0),
        circuits,
        cut_off,
        consensus_valid_after: valid_after.and_then(|time| unix_secs(&time)),
        consensus_valid_until: valid_until.and_then(|time| unix_secs(&time)),
        introduction_circuits: u32::try_from(introductions).unwrap_or(u32::MAX),
        introduction_circuits_expected: services.circuits,
        clock_skew_secs: skew,
        key_directory_private: services.directory.map(|path| is_private(watched, &path)),
    })
}

/// `NOTICE BOOTSTRAP PROGRESS=100 TAG=done …`.
fn percent(phase: &str) -> Option<u8> {
    phase.split(' ').find_map(|word| word.strip_prefix("PROGRESS="))?.parse().ok()
}

/// `2026-11-26 15:00:00`, in UTC.
fn unix_secs(time: &str) -> Option<u64> {
    let time: jiff::civil::DateTime = time.trim().parse().ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(zoned.timestamp().as_second()).ok()
}

/// By how much a trusted relay says that our clock is wrong: `CLOCK_SKEW SKEW=-3700 SOURCE=…`.
fn skew_of(status: &StatusEvent) -> Option<i64> {
    if status.action != "CLOCK_SKEW" {
        return None;
    }
    let (_, value) = status.arguments.iter().find(|(name, _)| name == "SKEW")?;
    value.trim_matches('"').parse().ok()
}

/// What a tor's configuration says of its onion services; on a node of ours that is one, or none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Services {
    /// Where the key of the first one is.
    directory: Option<PathBuf>,
    /// Introduction circuits that there are when all are well.
    circuits: u32,
}

impl Services {
    /// Reads `GETCONF HiddenServiceOptions`: each service begins with its directory.
    fn of(options: &[(String, Option<String>)]) -> Self {
        let mut found = Self::default();
        let mut points = 0;
        for (name, value) in options {
            match (name.as_str(), value) {
                ("HiddenServiceDir", Some(path)) => {
                    found.directory.get_or_insert_with(|| PathBuf::from(path));
                    found.circuits = found.circuits.saturating_add(points);
                    points = DEFAULT_POINTS;
                }
                ("HiddenServiceNumIntroductionPoints", Some(number)) => {
                    points = number.parse().unwrap_or(DEFAULT_POINTS);
                }
                _ => {}
            }
        }
        found.circuits = found.circuits.saturating_add(points).saturating_mul(DESCRIPTORS);
        found
    }
}

/// Whether a directory is tor's own and nobody else's. Tor's user is the one that made the control socket.
fn is_private(watched: &Watched, directory: &Path) -> bool {
    let Ok(found) = std::fs::metadata(directory) else { return false };
    let same_user = match &watched.address {
        SocketAddress::Unix(socket) => {
            std::fs::metadata(socket).is_ok_and(|socket| socket.uid() == found.uid())
        }
        SocketAddress::Tcp(_) => true,
    };
    found.is_dir() && found.mode() & OTHERS == 0 && same_user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tors_words_are_read() {
        assert_eq!(percent("NOTICE BOOTSTRAP PROGRESS=75 TAG=enough_dirinfo SUMMARY=\"x\""), Some(75));
        assert_eq!(percent("NOTICE BOOTSTRAP PROGRESS=999"), None);
        assert_eq!(unix_secs("2026-11-26 15:00:00"), Some(1_795_705_200));
        assert_eq!(unix_secs("yesterday"), None);
        let status = |action: &str, skew: &str| StatusEvent {
            severity: "WARN".into(),
            action: action.into(),
            arguments: vec![("SKEW".into(), skew.into()), ("SOURCE".into(), "CONSENSUS".into())],
        };
        assert_eq!(skew_of(&status("CLOCK_SKEW", "-3700")), Some(-3700));
        assert_eq!(skew_of(&status("CLOCK_SKEW", "\"42\"")), Some(42));
        assert_eq!(skew_of(&status("CLOCK_JUMPED", "42")), None);
    }

    #[test]
    fn as_many_circuits_are_expected_as_both_descriptors_have_points() {
        let option =
            |(name, value): &(&str, &str)| (format!("HiddenService{name}"), Some((*value).to_owned()));
        let services = |options: &[(&str, &str)]| {
            let services = Services::of(&options.iter().map(option).collect::<Vec<_>>());
            (services.directory.map(|path| path.display().to_string()), services.circuits)
        };
        assert_eq!(services(&[]), (None, 0));
        assert_eq!(Services::of(&[("HiddenServiceOptions".to_owned(), None)]), Services::default());
        assert_eq!(services(&[("Dir", "/a"), ("Port", "80")]), (Some("/a".to_owned()), 6));
        let many = ("NumIntroductionPoints", "5");
        assert_eq!(services(&[("Dir", "/a"), many, ("Port", "80")]), (Some("/a".to_owned()), 10));
        assert_eq!(services(&[("Dir", "/a"), many, ("Dir", "/b")]), (Some("/a".to_owned()), 16));
    }

    #[test]
    fn a_directory_that_others_may_enter_is_not_private() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let watched = Watched {
            tor: Tor::Serving,
            address: SocketAddress::Unix(place.path().to_owned()),
            auth: ControlAuth::Auto,
            abusive: None,
        };
        for (mode, private) in [(0o700, true), (0o750, false), (0o701, false)] {
            std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_private(&watched, place.path()), private, "{mode:o}");
        }
        assert!(!is_private(&watched, &place.path().join("none")));
    }
}
