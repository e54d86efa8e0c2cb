//! Asking the three daemons how they are, over their control sockets.
//!
//! They are asked, not followed: to the publisher a follower is the coordinator, and the proxy has something new with
//! every byte.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::overview::{Cluster, Descriptors, Overview};
use crate::ipc::call::Fault;
use crate::ipc::client::ClientError;
use crate::ipc::coordinator::{CoordinatorClient, CoordinatorStatus};
use crate::ipc::proxy::{ProxyClient, ProxyStatus, Validity};
use crate::ipc::publisher::PublisherClient;
use crate::proto::cluster::status::{Lifecycle, NodeStatus};
use crate::proto::health::part::{Daemon, Part};
use crate::proto::health::vitals::{
    Answer, Canary, ClusterVitals, Observation, Publishing, TargetCertificate, Traffic,
};
use crate::proto::join::canary::CanaryStatus;
use crate::proto::publish::report::{Alarm, Duty, HsDirState, PublisherReport};

/// How often each is asked.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long an answer may take: a main loop needs microseconds, a machine that is out of breath some seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// Who else hears what the daemons say.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Who closes circuits: those that the proxy wants closed.
    pub(super) abusive: watch::Sender<Vec<u32>>,
    /// Who shows it to people.
    pub(super) overview: watch::Sender<Overview>,
}

/// What a daemon said of itself.
trait Ask {
    /// Connects, asks, and puts the answer into the words of the core.
    async fn ask(&self) -> Result<Observation, ClientError>;

    /// It does not answer: what it said is not shown as the present any more.
    fn forget(&self) {}
}

/// The proxy, by its socket; and who hears which circuits are to be closed.
struct Proxy(PathBuf, watch::Sender<Vec<u32>>);
/// The coordinator, by its socket; and who shows what it says.
struct Coordinator(PathBuf, watch::Sender<Overview>);
/// The publisher, likewise.
struct Publisher(PathBuf, watch::Sender<Overview>);

impl Ask for Proxy {
    async fn ask(&self) -> Result<Observation, ClientError> {
        let status = ProxyClient::connect(&self.0).await?.status().await?;
        tell(&self.1, status.abusive_circuits.clone(), |named| named);
        Ok(Observation::Traffic(traffic(&status)))
    }
}

impl Ask for Coordinator {
    async fn ask(&self) -> Result<Observation, ClientError> {
        let status = CoordinatorClient::connect(&self.0).await?.status().await?;
        tell(&self.1, Some(Cluster::of(&status)), |overview| &mut overview.cluster);
        Ok(Observation::Cluster(cluster(&status)))
    }

    fn forget(&self) {
        tell(&self.1, None, |overview| &mut overview.cluster);
    }
}

impl Ask for Publisher {
    async fn ask(&self) -> Result<Observation, ClientError> {
        let report = PublisherClient::connect(&self.0).await?.status().await?;
        tell(&self.1, Some(Descriptors::of(&report)), |overview| &mut overview.descriptors);
        Ok(Observation::Publishing(publishing(&report)))
    }

    fn forget(&self) {
        tell(&self.1, None, |overview| &mut overview.descriptors);
    }
}

/// Says something to those who hear it, if it is new.
fn tell<All, One: PartialEq>(heard: &watch::Sender<All>, news: One, one: impl FnOnce(&mut All) -> &mut One) {
    heard.send_if_modified(|all| {
        let said = one(all);
        let changed = *said != news;
        *said = news;
        changed
    });
}

/// Asks a daemon again and again, until nobody listens.
pub(super) async fn watch(
    daemon: Daemon,
    socket: PathBuf,
    told: Told,
    observations: mpsc::Sender<Observation>,
) {
    match daemon {
        Daemon::Proxy => keep_asking(daemon, Proxy(socket, told.abusive), observations).await,
        Daemon::Coordinator => keep_asking(daemon, Coordinator(socket, told.overview), observations).await,
        Daemon::Publisher => keep_asking(daemon, Publisher(socket, told.overview), observations).await,
    }
}

async fn keep_asking(daemon: Daemon, asked: impl Ask, observations: mpsc::Sender<Observation>) {
    let part = Part::Daemon(daemon);
    let mut complained = false;
    loop {
        let (answer, observation) = match timeout(ANSWER_LIMIT, asked.ask()).await {
            Ok(Ok(observation)) => (Answer::Answers, Some(observation)),
            Ok(Err(error)) => {
                let answer = answer_of(&error);
                if answer == Answer::Refuses && !complained {
                    warn!(%error, "{part} does not tell the watchdog how it is");
                    complained = true;
                }
                (answer, None)
            }
            Err(_) => (Answer::Silent, None),
        };
        if answer != Answer::Answers {
            asked.forget();
        }
        // First that it answers: what it says counts only then.
        for said in [Some(Observation::Answer(part, answer)), observation].into_iter().flatten() {
            if observations.send(said).await.is_err() {
                return;
            }
        }
        sleep(ASK_EVERY).await;
    }
}

/// What an error tells about the daemon itself.
fn answer_of(error: &ClientError) -> Answer {
    match error {
        silence if silence.is_silence() => Answer::Silent,
        ClientError::Connect { source, .. } if source.kind() != std::io::ErrorKind::PermissionDenied => {
            Answer::Away
        }
        ClientError::Broken(_) => Answer::Away,
        ClientError::Refused { error, .. } if error == Fault::Stopping.name() => Answer::Away,
        // It said something, though nothing that helps.
        _ => Answer::Refuses,
    }
}

fn traffic(status: &ProxyStatus) -> Traffic {
    Traffic {
        target_well: status.target_well,
        targets: count(status.targets.len()),
        targets_well: count(status.targets.iter().filter(|target| target.well).count()),
        certificates: certificates(status),
        active: status.active,
        accepted: status.accepted,
        refused: status.refused,
        over_limit: status.over_limit,
        failed: status.failed.iter().map(|(reason, number)| (reason.name(), *number)).collect(),
        bytes_to_target: status.bytes_to_target,
        bytes_to_client: status.bytes_to_client,
    }
}

/// What is known of targets' certificates.
fn certificates(status: &ProxyStatus) -> Vec<TargetCertificate> {
    let numbered = status.targets.iter().zip(1..);
    let known = numbered.filter_map(|(it, target)| {
        let Validity { from, until } = it.certificate?;
        Some(TargetCertificate { target, from, until })
    });
    known.collect()
}

fn cluster(status: &CoordinatorStatus) -> ClusterVitals {
    let cluster = &status.cluster;
    let others = || cluster.nodes.iter().filter(|node| node.node != cluster.node);
    let own = cluster.nodes.iter().find(|node| node.node == cluster.node);
    let serves = |node: &NodeStatus| node.lifecycle == Lifecycle::Healthy && node.target_well != Some(false);
    let lost = |lifecycle| matches!(lifecycle, Lifecycle::Unhealthy | Lifecycle::Dead);
    ClusterVitals {
        joining: status.joining.is_some(),
        led: cluster.holder.is_some() || cluster.discovering,
        leads: cluster.holder.as_ref() == Some(&cluster.node),
        stands_back: own.and_then(|own| own.stands_back).map(|ailment| ailment.to_string()),
        stood_back: cluster.stood_back,
        nodes: count(cluster.nodes.len()),
        others_serving: count(others().filter(|node| serves(node)).count()),
        lost: others().filter(|node| lost(node.lifecycle)).map(|node| node.node.to_string()).collect(),
        refused_for_clock: status.mesh.refused_for_clock,
        clock_ahead_ms: status.mesh.clock_ahead_ms,
        canary: status.canary.as_ref().map(canary),
    }
}

fn canary(status: &CanaryStatus) -> Canary {
    Canary {
        tried: status.tried,
        answered: status.answered,
        lost: status.lost,
        answered_at: status.answered_at,
        round_trip_ms: status.round_trip_ms,
        met: count(status.met.len()),
        unmet: status.unmet.iter().map(ToString::to_string).collect(),
        failure: status.failure.clone(),
    }
}

fn publishing(report: &PublisherReport) -> Publishing {
    let holds = |state| matches!(state, HsDirState::Accepted | HsDirState::Verified);
    let hsdirs = || report.slots.iter().flat_map(|slot| &slot.hsdirs);
    let grave = |alarm: &Alarm| match alarm {
        Alarm::Stale | Alarm::Unreadable | Alarm::OwnDescriptorUnreadable | Alarm::NotBuilt => true,
        // These are seen by others of our facts: the network, the points, the HSDirs.
        Alarm::NoNetwork
        | Alarm::NothingToPublish
        | Alarm::AllPointsGone
        | Alarm::HsDirsBehind
        | Alarm::Nowhere => false,
    };
    let publishes = matches!(report.duty, Duty::Publishing { .. });
    Publishing {
        publishes,
        points: count(report.points.len()),
        points_lost: count(report.points_lost),
        points_certified_until: report.points_certified_until,
        descriptors_certified_until: report.slots.iter().filter_map(|slot| slot.certified_until).min(),
        muted: report.muted,
        // Who does not publish knows nothing of what HSDirs hold.
        hsdirs: if publishes { count(hsdirs().count()) } else { 0 },
        hsdirs_holding: count(hsdirs().filter(|hsdir| holds(hsdir.state)).count()),
        behind: report.alarms.contains(&Alarm::HsDirsBehind),
        stale: report.alarms.iter().any(grave),
    }
}

/// A number as it is told; no node has four billion of anything.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::proxy::TargetStatus;

    #[test]
    fn errors_tell_who_is_away_and_who_hangs() {
        let refused = |fault: Fault| ClientError::Refused {
            error: fault.name().to_owned(),
            parameters: fault.parameters(),
        };
        let connect =
            |kind: std::io::ErrorKind| ClientError::Connect { path: "x".into(), source: kind.into() };
        for (error, answer) in [
            (ClientError::TimedOut, Answer::Silent),
            (refused(Fault::TimedOut), Answer::Silent),
            (refused(Fault::Stopping), Answer::Away),
            (ClientError::Broken("end".into()), Answer::Away),
            (connect(std::io::ErrorKind::NotFound), Answer::Away),
            (connect(std::io::ErrorKind::ConnectionRefused), Answer::Away),
            (connect(std::io::ErrorKind::PermissionDenied), Answer::Refuses),
            (refused(Fault::PermissionDenied), Answer::Refuses),
        ] {
            assert_eq!(answer_of(&error), answer, "{error}");
        }
    }

    #[test]
    fn a_report_is_put_into_the_words_of_the_core() {
        let report = PublisherReport {
            alarms: vec![Alarm::HsDirsBehind, Alarm::NotBuilt],
            points_lost: 2,
            ..Default::default()
        };
        let said = publishing(&report);
        assert!(said.behind && said.stale && !said.publishes && said.hsdirs == 0 && said.points_lost == 2);
        assert_eq!(publishing(&PublisherReport::default()), Publishing::default());
    }

    #[test]
    fn certificates_are_told_with_their_targets_places() {
        let target = |certificate| TargetStatus {
            target: "x".to_owned(),
            weight: 1,
            well: true,
            trouble: None,
            connections: 0,
            certificate,
        };
        let targets = [None, Some(Validity { from: 5, until: 9 })].map(target).to_vec();
        let status = ProxyStatus { targets, ..ProxyStatus::default() };
        assert_eq!(traffic(&status).certificates, [TargetCertificate { target: 2, from: 5, until: 9 }]);
    }
}
