//! From facts to failures: what is wrong now, whatever was before.

use std::collections::BTreeSet;

use super::failure::Failure;
use super::part::{Daemon, Part, Tor};
use super::vitals::{Answer, Configuration, Host, Share, TargetCertificate, TorVitals, Uses, Vitals};

/// Below so many free bytes daemons soon cannot write: a descriptor cache and a consensus take some ten million.
const LEAST_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// On a small file system so many hundredths are enough: a tmpfs of a laboratory is no full disk.
const LEAST_FREE_HUNDREDTHS: u64 = 5;
/// The daemons and two tors have some forty files, and write each anew before they remove the old one.
const LEAST_FREE_INODES: u64 = 256;
/// Clients and nodes believe each other within a few seconds; tor itself only complains above an hour.
const MOST_SKEW_MS: u64 = 4_000;
/// A clock that is kept differs by some hundredths of a second; with more it may soon be believed no more.
const MOST_DRIFT_MS: u64 = 2_000;

/// With more of its memory or files than so many hundredths a part does not go on for long: the kernel kills it, or lets
/// nobody in.
const NEAR_HUNDREDTHS: u64 = 90;

/// An HSDir keeps a descriptor for three hours, and a client for a day: for so long its certificates must last.
const LEAST_CERTIFIED_SECS: u64 = 27 * 3600;
/// Certificates of web servers that last for months are renewed weeks before their end, so with less than this somebody must
/// look; with those that last for days only, when less than a quarter of that is left.
const LEAST_TARGET_CERTIFIED_SECS: u64 = 14 * 24 * 3600;

/// All that fails at this moment. Where nothing is known, nothing fails.
pub fn diagnose(vitals: &Vitals, fenced: bool, unix_secs: u64) -> BTreeSet<Failure> {
    let mut failures = BTreeSet::new();
    let joining = vitals.cluster.as_ref().is_some_and(|cluster| cluster.joining);
    for part in Part::ALL {
        // It is stopped by us, or has not been let in yet: its unit waits for that.
        let excused = part == Part::Tor(Tor::Serving) && (fenced || joining);
        match vitals.answer(part) {
            Answer::Silent => _ = failures.insert(Failure::Silent(part)),
            Answer::Away if !excused => _ = failures.insert(Failure::Away(part)),
            Answer::Refuses => _ = failures.insert(Failure::Unwatched(part)),
            Answer::Away | Answer::Unasked | Answer::Answers => {}
        }
        let Uses { memory_bytes, open_files } = vitals.uses(part);
        if memory_bytes.into_iter().chain(open_files).any(is_near_limit) {
            failures.insert(Failure::NearLimit(part));
        }
    }
    for tor in Tor::ALL {
        failures.extend(vitals.tor(tor).and_then(|vitals| of_a_tor(tor, vitals, unix_secs)));
    }
    if has_no_network(vitals) {
        failures.insert(Failure::NoNetwork);
    }
    of_the_daemons(vitals, &mut failures);
    of_the_certificates(vitals, unix_secs, &mut failures);
    if !fenced && !joining {
        of_the_points(vitals, &mut failures);
    }
    failures.extend(vitals.host.as_ref().and_then(of_the_machine));
    failures.extend(vitals.configuration.as_ref().and_then(of_the_configuration));
    if Tor::ALL
        .into_iter()
        .any(|tor| vitals.tor(tor).is_some_and(|tor| tor.key_directory_private == Some(false)))
    {
        failures.insert(Failure::OpenKeyDirectory);
    }
    if vitals.key_installed == Some(false) {
        failures.insert(Failure::UninstalledKey);
    }
    match skew_ms(vitals, unix_secs) {
        skew if skew > MOST_SKEW_MS => _ = failures.insert(Failure::WrongClock),
        skew if skew > MOST_DRIFT_MS => _ = failures.insert(Failure::DriftingClock),
        _ => {}
    }
    failures
}

/// What a tor says of itself; only the first cause, as the others follow from it.
fn of_a_tor(tor: Tor, vitals: &TorVitals, unix_secs: u64) -> Option<Failure> {
    if vitals.bootstrap_percent < 100 {
        Some(Failure::Unbootstrapped(tor))
    } else if vitals.consensus_valid_until.is_some_and(|until| until < unix_secs) {
        Some(Failure::OldConsensus(tor))
    } else if has_no_circuits(vitals) {
        Some(Failure::NoCircuits(tor))
    } else {
        None
    }
}

/// Tor goes on to say that it has circuits when the network goes away under it; that it is cut off it notices by itself.
fn has_no_circuits(vitals: &TorVitals) -> bool {
    !vitals.circuits || vitals.cut_off
}

/// Whether both tors are there, and neither gets anywhere. One alone proves nothing.
fn has_no_network(vitals: &Vitals) -> bool {
    let stuck =
        |tor| vitals.tor(tor).is_some_and(|vitals| vitals.bootstrap_percent < 100 || has_no_circuits(vitals));
    Tor::ALL.into_iter().all(stuck)
}

/// What the daemons say.
fn of_the_daemons(vitals: &Vitals, failures: &mut BTreeSet<Failure>) {
    if let Some(publishing) = &vitals.publishing {
        if publishing.behind {
            failures.insert(Failure::HsDirsBehind);
        }
        if publishing.stale {
            failures.insert(Failure::StaleDescriptor);
        }
    }
    let coordinator = vitals.answer(Part::Daemon(Daemon::Coordinator));
    if let Some(cluster) = vitals.cluster.as_ref().filter(|_| coordinator == Answer::Answers) {
        if !cluster.led && !cluster.joining {
            failures.insert(Failure::NoLease);
        }
        if !cluster.lost.is_empty() {
            failures.insert(Failure::LostNodes);
        }
        if cluster.canary.as_ref().is_some_and(|canary| canary.lost) {
            failures.insert(Failure::Unreachable);
        }
        if cluster.canary.as_ref().is_some_and(|canary| !canary.unmet.is_empty()) {
            failures.insert(Failure::UnmetNodes);
        }
    }
    if vitals.traffic.as_ref().is_some_and(|traffic| !traffic.target_well) {
        failures.insert(Failure::TargetAway);
    }
}

/// Where clients come in: what the descriptor says, and the circuits that there are. A point whose circuit has just closed is
/// told for some seconds more.
fn of_the_points(vitals: &Vitals, failures: &mut BTreeSet<Failure>) {
    let told = vitals.publishing.unwrap_or_default();
    if told.muted {
        return;
    }
    let tor = vitals.tor(Tor::Serving);
    let (circuits, expected) =
        tor.map_or((0, 0), |tor| (tor.introduction_circuits, tor.introduction_circuits_expected));
    let none_told = vitals.publishing.is_some() && told.points <= told.points_lost;
    let all_there = expected > 0 && circuits >= expected;
    if none_told && all_there {
        failures.insert(Failure::UntoldPoints);
    } else if none_told || (circuits == 0 && expected > 0) {
        failures.insert(Failure::NoPoints);
    }
    if circuits < expected {
        failures.insert(Failure::FewPoints);
    }
    if told.points_lost > 0 {
        failures.insert(Failure::LostPoints);
    }
}

fn of_the_certificates(vitals: &Vitals, unix_secs: u64, failures: &mut BTreeSet<Failure>) {
    let needed_until = unix_secs.saturating_add(LEAST_CERTIFIED_SECS);
    let onions = vitals
        .publishing
        .iter()
        .flat_map(|publishing| [publishing.points_certified_until, publishing.descriptors_certified_until]);
    if onions.flatten().any(|until| until < needed_until) {
        failures.insert(Failure::OldCertificates);
    }
    let mut targets = vitals.traffic.iter().flat_map(|traffic| &traffic.certificates);
    if targets.any(|certificate| renewal_due(certificate) < unix_secs) {
        failures.insert(Failure::OldTargetCertificate);
    }
}

/// From when on a target's certificate should have been renewed.
pub(super) fn renewal_due(certificate: &TargetCertificate) -> u64 {
    let TargetCertificate { from, until, .. } = *certificate;
    until.saturating_sub((until.saturating_sub(from) / 4).min(LEAST_TARGET_CERTIFIED_SECS))
}

/// Whether hardly anything is left.
pub(super) fn is_near_limit(share: Share) -> bool {
    share.used.saturating_mul(100) >= share.limit.saturating_mul(NEAR_HUNDREDTHS)
}

fn of_the_machine(host: &Host) -> Option<Failure> {
    let scarce = host.disk_free_bytes < LEAST_FREE_BYTES
        && host.disk_free_bytes / LEAST_FREE_HUNDREDTHS < host.disk_bytes / 100;
    let crowded = host.inodes_free.is_some_and(|free| free < LEAST_FREE_INODES);
    (scarce || crowded).then_some(Failure::FullDisk)
}

fn of_the_configuration(configuration: &Configuration) -> Option<Failure> {
    if configuration.wrong {
        Some(Failure::WrongConfiguration)
    } else {
        (!configuration.changed.is_empty()).then_some(Failure::UnreadConfiguration)
    }
}

/// By how much this machine's clock is wrong at most, whoever says so.
fn skew_ms(vitals: &Vitals, unix_secs: u64) -> u64 {
    let of_tor = |tor: &TorVitals| {
        // A consensus is not made before it is valid.
        let early = tor.consensus_valid_after.map_or(0, |after| after.saturating_sub(unix_secs));
        early.max(tor.clock_skew_secs.unsigned_abs()).saturating_mul(1000)
    };
    let tors = Tor::ALL.into_iter().filter_map(|tor| vitals.tor(tor)).map(of_tor);
    let peers = vitals.cluster.as_ref().and_then(|cluster| cluster.clock_ahead_ms).map(i64::unsigned_abs);
    tors.chain(peers).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::health::vitals::{Canary, ClusterVitals, Observation, Publishing, Traffic};

    const NOW: u64 = 1_800_000_000;
    const HOUR: u64 = 3600;
    const PROXY: Part = Part::Daemon(Daemon::Proxy);

    /// A node that is well, one of three.
    fn well() -> Vitals {
        let mut vitals = Vitals::default();
        for part in Part::ALL {
            vitals.note(Observation::Answer(part, Answer::Answers));
        }
        for tor in Tor::ALL {
            vitals.note(Observation::Tor(tor, well_tor()));
        }
        let publishing = Publishing { points: 3, hsdirs: 16, hsdirs_holding: 16, ..Publishing::default() };
        vitals.note(Observation::Publishing(publishing));
        let cluster = ClusterVitals { led: true, nodes: 3, others_serving: 2, ..ClusterVitals::default() };
        vitals.note(Observation::Cluster(cluster));
        vitals.note(Observation::Traffic(Traffic { target_well: true, ..Traffic::default() }));
        let host = Host { disk_free_bytes: 1 << 33, disk_bytes: 1 << 34, inodes_free: Some(100_000) };
        vitals.note(Observation::Host(host));
        vitals.note(Observation::Configuration(Configuration::default()));
        vitals
    }

    fn well_tor() -> TorVitals {
        TorVitals {
            bootstrap_percent: 100,
            circuits: true,
            cut_off: false,
            consensus_valid_after: Some(NOW - 3600),
            consensus_valid_until: Some(NOW + 7200),
            introduction_circuits: 6,
            introduction_circuits_expected: 6,
            clock_skew_secs: 0,
            key_directory_private: Some(true),
        }
    }

    /// One that is valid for so many days in all, and for so many seconds more.
    fn certificate(days: u64, left_secs: u64) -> Vec<TargetCertificate> {
        let until = NOW + left_secs;
        vec![TargetCertificate { target: 2, from: until - days * 24 * HOUR, until }]
    }

    fn found(change: impl FnOnce(&mut Vitals)) -> Vec<Failure> {
        let mut vitals = well();
        change(&mut vitals);
        diagnose(&vitals, false, NOW).into_iter().collect()
    }

    #[test]
    fn nothing_fails_where_all_is_well_or_nothing_is_known() {
        assert_eq!(found(|_| {}), []);
        assert_eq!(diagnose(&Vitals::default(), false, NOW), BTreeSet::new());
    }

    /// What is changed about a node that is well.
    type Change = fn(&mut Vitals);

    #[test]
    fn each_failure_is_told_by_its_own_fact() {
        use Failure::{
            Away, DriftingClock, FullDisk, HsDirsBehind, LostNodes, NoCircuits, NoLease, NoNetwork,
            OldConsensus, OpenKeyDirectory, Silent, StaleDescriptor, TargetAway, Unbootstrapped,
            UninstalledKey, UnreadConfiguration, Unwatched, WrongClock, WrongConfiguration,
        };
        let serving = Part::Tor(Tor::Serving);
        let cases: Vec<(Change, Vec<Failure>)> = vec![
            (|v| v.note(Observation::Answer(Part::Tor(Tor::Serving), Answer::Silent)), vec![Silent(serving)]),
            (|v| v.note(Observation::Answer(Part::Tor(Tor::Serving), Answer::Away)), vec![Away(serving)]),
            (|v| v.note(Observation::Answer(PROXY, Answer::Refuses)), vec![Unwatched(PROXY)]),
            (
                |v| v.serving_tor = Some(TorVitals { circuits: false, ..well_tor() }),
                vec![NoCircuits(Tor::Serving)],
            ),
            (
                |v| v.standby_tor = Some(TorVitals { bootstrap_percent: 45, circuits: false, ..well_tor() }),
                vec![Unbootstrapped(Tor::Standby)],
            ),
            (
                |v| v.standby_tor = Some(TorVitals { consensus_valid_until: Some(NOW - 1), ..well_tor() }),
                vec![OldConsensus(Tor::Standby)],
            ),
            (
                |v| {
                    v.serving_tor = Some(TorVitals { circuits: false, ..well_tor() });
                    v.standby_tor = v.serving_tor;
                },
                vec![NoNetwork, NoCircuits(Tor::Serving), NoCircuits(Tor::Standby)],
            ),
            (
                |v| {
                    v.serving_tor = Some(TorVitals { cut_off: true, ..well_tor() });
                    v.standby_tor = v.serving_tor;
                },
                vec![NoNetwork, NoCircuits(Tor::Serving), NoCircuits(Tor::Standby)],
            ),
            (|v| v.publishing = Some(Publishing { muted: true, ..Publishing::default() }), vec![]),
            (|v| v.publishing = v.publishing.map(|p| Publishing { behind: true, ..p }), vec![HsDirsBehind]),
            (|v| v.publishing = v.publishing.map(|p| Publishing { stale: true, ..p }), vec![StaleDescriptor]),
            (|v| v.cluster.as_mut().unwrap().led = false, vec![NoLease]),
            (|v| v.cluster.as_mut().unwrap().lost.push("beta".to_owned()), vec![LostNodes]),
            (|v| v.traffic.as_mut().unwrap().target_well = false, vec![TargetAway]),
            (|v| v.host.as_mut().unwrap().disk_free_bytes = 1000, vec![FullDisk]),
            (|v| v.host.as_mut().unwrap().inodes_free = Some(3), vec![FullDisk]),
            (|v| v.serving_tor.as_mut().unwrap().key_directory_private = Some(false), vec![OpenKeyDirectory]),
            (|v| v.note(Observation::KeyInstalled(true)), vec![]),
            (|v| v.note(Observation::KeyInstalled(false)), vec![UninstalledKey]),
            (|v| v.serving_tor.as_mut().unwrap().clock_skew_secs = -5, vec![WrongClock]),
            (|v| v.cluster.as_mut().unwrap().clock_ahead_ms = Some(-1_900), vec![]),
            (|v| v.cluster.as_mut().unwrap().clock_ahead_ms = Some(-2_100), vec![DriftingClock]),
            (|v| v.cluster.as_mut().unwrap().clock_ahead_ms = Some(4_100), vec![WrongClock]),
            (|v| v.serving_tor.as_mut().unwrap().consensus_valid_after = Some(NOW + 60), vec![WrongClock]),
            (|v| v.configuration.as_mut().unwrap().wrong = true, vec![WrongConfiguration]),
            (
                |v| v.configuration.as_mut().unwrap().changed.push("proxy.target".to_owned()),
                vec![UnreadConfiguration],
            ),
        ];
        check(cases);
    }

    #[test]
    fn what_the_canary_finds_is_told() {
        let found = |canary| found(|vitals| vitals.cluster.as_mut().unwrap().canary = Some(canary));
        assert_eq!(found(Canary::default()), []);
        assert_eq!(found(Canary { lost: true, ..Canary::default() }), [Failure::Unreachable]);
        let unmet = vec!["beta".to_owned()];
        assert_eq!(found(Canary { unmet, ..Canary::default() }), [Failure::UnmetNodes]);
    }

    fn check(cases: Vec<(Change, Vec<Failure>)>) {
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            assert_eq!(found(change), expected, "case {number}");
        }
    }

    #[test]
    fn points_that_are_missing_or_lost_are_told_unless_they_were_given_up() {
        use Failure::{FewPoints, LostPoints, NoPoints, UntoldPoints};
        check(vec![
            (|v| v.publishing = Some(Publishing::default()), vec![UntoldPoints]),
            (
                |v| {
                    v.publishing = Some(Publishing::default());
                    v.serving_tor.as_mut().unwrap().introduction_circuits = 1;
                },
                vec![NoPoints, FewPoints],
            ),
            (|v| v.serving_tor.as_mut().unwrap().introduction_circuits = 5, vec![FewPoints]),
            (|v| v.serving_tor.as_mut().unwrap().introduction_circuits = 0, vec![NoPoints, FewPoints]),
            (|v| v.standby_tor.as_mut().unwrap().introduction_circuits = 0, vec![]),
            (|v| v.publishing = v.publishing.map(|p| Publishing { points_lost: 1, ..p }), vec![LostPoints]),
            (
                |v| v.publishing = v.publishing.map(|p| Publishing { points_lost: 3, ..p }),
                vec![UntoldPoints, LostPoints],
            ),
            (
                |v| {
                    v.serving_tor.as_mut().unwrap().introduction_circuits = 0;
                    v.publishing = v.publishing.map(|p| Publishing { muted: true, points_lost: 1, ..p });
                },
                vec![],
            ),
        ]);
    }

    #[test]
    fn what_comes_to_its_end_is_told_before() {
        use Failure::{NearLimit, OldCertificates, OldTargetCertificate};
        check(vec![
            (|v| v.note(Observation::Memory(Part::Tor(Tor::Serving), None)), vec![]),
            (
                |v| {
                    let used = Some(Share { used: 699, limit: 768 });
                    v.note(Observation::Memory(Part::Tor(Tor::Serving), used));
                },
                vec![NearLimit(Part::Tor(Tor::Serving))],
            ),
            (|v| v.note(Observation::Files(PROXY, Share { used: 14_700, limit: 16_384 })), vec![]),
            (
                |v| v.note(Observation::Files(PROXY, Share { used: 14_800, limit: 16_384 })),
                vec![NearLimit(PROXY)],
            ),
            (|v| v.publishing.as_mut().unwrap().points_certified_until = Some(NOW + 27 * HOUR), vec![]),
            (
                |v| v.publishing.as_mut().unwrap().points_certified_until = Some(NOW + 27 * HOUR - 1),
                vec![OldCertificates],
            ),
            (
                |v| v.publishing.as_mut().unwrap().descriptors_certified_until = Some(NOW + 26 * HOUR),
                vec![OldCertificates],
            ),
            (|v| v.traffic.as_mut().unwrap().certificates = certificate(90, 14 * 24 * HOUR), vec![]),
            (
                |v| v.traffic.as_mut().unwrap().certificates = certificate(90, 14 * 24 * HOUR - 1),
                vec![OldTargetCertificate],
            ),
            (|v| v.traffic.as_mut().unwrap().certificates = certificate(6, 36 * HOUR), vec![]),
            (
                |v| v.traffic.as_mut().unwrap().certificates = certificate(6, 36 * HOUR - 1),
                vec![OldTargetCertificate],
            ),
        ]);
    }

    #[test]
    fn a_tor_that_may_not_run_is_not_missed() {
        let mut vitals = well();
        vitals.note(Observation::Answer(Part::Tor(Tor::Serving), Answer::Away));
        vitals.publishing = Some(Publishing { points_lost: 2, ..Publishing::default() });
        vitals.serving_tor = Some(TorVitals { introduction_circuits: 0, ..well_tor() });
        assert_eq!(diagnose(&vitals, true, NOW), BTreeSet::new(), "fenced");
        vitals.cluster = Some(ClusterVitals { joining: true, ..ClusterVitals::default() });
        assert_eq!(diagnose(&vitals, false, NOW), BTreeSet::new(), "not let in yet");
    }

    #[test]
    fn a_small_file_system_that_is_nearly_empty_is_not_full() {
        assert_eq!(
            found(|v| *v.host.as_mut().unwrap() =
                Host { disk_free_bytes: 10 << 20, disk_bytes: 12 << 20, ..v.host.unwrap() }),
            []
        );
    }

    #[test]
    fn what_a_silent_part_said_before_is_no_fact_any_more() {
        let mut vitals = well();
        vitals.serving_tor = Some(TorVitals::default());
        vitals.note(Observation::Answer(Part::Tor(Tor::Serving), Answer::Away));
        assert_eq!(vitals.serving_tor, None);
    }
}
