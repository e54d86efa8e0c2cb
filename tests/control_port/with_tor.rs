//! Against a real tor, offline.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustbalance::tor::address::ControlAuth;
use rustbalance::tor::command::Signal;
use rustbalance::tor::controller::Controller;
use rustbalance::tor::directory::{self, DirectoryError};
use rustbalance::tor::error::{CloseReason, ControlError};
use rustbalance::tor::event::{EventKind, TorEvent};
use rustbalance::tor::reconnect::{BackoffPlan, Reconnector};
use tokio::time::timeout;

use crate::peer::{PATIENCE, PATIENT, event};
use crate::real_tor::{RealTor, hash_password};

/// A tor and the folder it lives in.
fn tor(lines: &str) -> (RealTor, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (RealTor::start(folder.path(), lines), folder)
}

/// Connects with patience.
async fn connect(
    address: &rustbalance::tor::address::SocketAddress,
    auth: &ControlAuth,
) -> Result<Controller, ControlError> {
    Controller::connect_with(address, auth, PATIENT).await.map(|(controller, _)| controller)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_authentication_works_over_tcp_and_unix() {
    let password = ControlAuth::Password("correct horse \"battery\" \u{e9}".into());
    let wrong = ControlAuth::Password("wrong".into());
    let hash = hash_password("correct horse \"battery\" \u{e9}");

    let (cookie_tor, _folder) = tor("CookieAuthentication 1");
    let (password_tor, _folder) = tor(&format!("HashedControlPassword {hash}"));
    let (both_tor, _folder) = tor(&format!("CookieAuthentication 1\nHashedControlPassword {hash}"));
    let (open_tor, _folder) = tor("");
    for (tor, auth) in [
        (&cookie_tor, &ControlAuth::Auto),
        (&password_tor, &password),
        (&both_tor, &ControlAuth::Auto),
        (&both_tor, &password),
        (&open_tor, &ControlAuth::Auto),
        (&open_tor, &password),
    ] {
        for address in [tor.tcp(), tor.unix()] {
            let controller = connect(&address, auth).await.unwrap();
            assert!(controller.getinfo("version").await.unwrap().starts_with("0.4."), "{address}");
        }
    }
    for tor in [&password_tor, &both_tor] {
        let error = connect(&tor.tcp(), &wrong).await.unwrap_err();
        assert!(matches!(error, ControlError::AuthRefused { status: 515 }), "{error}");
    }
    for (tor, auth) in [(&password_tor, &ControlAuth::Auto), (&cookie_tor, &wrong)] {
        let error = connect(&tor.unix(), auth).await.unwrap_err();
        assert!(matches!(error, ControlError::NoUsableAuth { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_not_tors_does_not_work() {
    let (tor, _folder) = tor("CookieAuthentication 1");
    // tor has written its cookie when it lets us in by it, and does not write it again.
    connect(&tor.tcp(), &ControlAuth::Auto).await.unwrap();
    std::fs::write(tor.cookie(), [7; 32]).unwrap();
    let error = connect(&tor.tcp(), &ControlAuth::Auto).await.unwrap_err();
    assert!(matches!(error, ControlError::WrongServerHash), "{error}");

    std::fs::write(tor.cookie(), "").unwrap();
    let error = connect(&tor.tcp(), &ControlAuth::Auto).await.unwrap_err();
    assert!(matches!(error, ControlError::NotACookie { .. }), "{error}");

    std::fs::remove_file(tor.cookie()).unwrap();
    let error = connect(&tor.tcp(), &ControlAuth::Auto).await.unwrap_err();
    // On a machine with a tor of its own there is another cookie at the usual place.
    assert!(matches!(error, ControlError::Cookie { .. } | ControlError::WrongServerHash), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    let (mut tor, folder) = tor("");
    let addresses = [tor.tcp(), tor.unix()];
    tor.kill();
    for address in addresses {
        let error = connect(&address, &ControlAuth::Auto).await.unwrap_err();
        assert!(matches!(error, ControlError::Connect { .. }), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    // Without the right to use the socket; root may use every socket.
    if !nix::unistd::geteuid().is_root() {
        let tor = RealTor::start(folder.path(), "");
        std::fs::set_permissions(folder.path().join("socket"), Permissions::from_mode(0o000)).unwrap();
        let error = connect(&tor.unix(), &ControlAuth::Auto).await.unwrap_err();
        assert!(matches!(error, ControlError::Connect { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn information_is_read() {
    let (tor, _folder) = tor("CookieAuthentication 1\nContactInfo someone");
    let controller = connect(&tor.unix(), &ControlAuth::Auto).await.unwrap();
    assert!(controller.getinfo("process/pid").await.unwrap().parse::<u32>().is_ok());
    let text = controller.getinfo("config-text").await.unwrap();
    assert!(text.starts_with("ContactInfo someone\nControlPort auto\n"), "several lines: {text}");
    assert_eq!(controller.getinfo("circuit-status").await.unwrap(), "", "nothing at all");
    assert!(controller.getinfo("config/names").await.unwrap().lines().count() > 300, "hundreds of lines");

    let service = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid";
    for (key, status) in [("no-such-key", 552), (&format!("hs/service/desc/id/{service}"), 551)] {
        let error = controller.getinfo(key).await.unwrap_err();
        let refused =
            matches!(error, ControlError::Refused { command: "GETINFO", status: s, .. } if s == status);
        assert!(refused, "{key}: {error}");
    }
    let error = directory::fetch(&controller).await.unwrap_err();
    assert!(matches!(error, DirectoryError::NotEnough), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_set_read_and_reset() {
    let (tor, folder) = tor("CookieAuthentication 1");
    let controller = connect(&tor.tcp(), &ControlAuth::Auto).await.unwrap();
    let named = |name: &str, value: Option<&str>| vec![(name.to_owned(), value.map(str::to_owned))];
    for value in [
        "plain",
        "with spaces",
        "#1",
        "a # b",
        "it's",
        "\"quoted\"",
        "back\\slash",
        "a\\nb",
        "\u{e9}",
        "tail\\",
    ] {
        controller.setconf(&[("contactinfo", Some(value)), ("Nickname", Some("n1"))]).await.unwrap();
        assert_eq!(controller.getconf("CONTACTINFO").await.unwrap(), named("ContactInfo", Some(value)));
    }
    let error =
        controller.setconf(&[("Nickname", Some("n2")), ("NoSuchOption", Some("1"))]).await.unwrap_err();
    assert!(matches!(error, ControlError::Refused { command: "SETCONF", status: 552, .. }), "{error}");
    assert_eq!(
        controller.getconf("Nickname").await.unwrap(),
        named("Nickname", Some("n1")),
        "all or nothing"
    );
    let error = controller.getconf("NoSuchOption").await.unwrap_err();
    assert!(matches!(error, ControlError::Refused { command: "GETCONF", status: 552, .. }), "{error}");

    controller.resetconf(&[("ContactInfo", None), ("Nickname", None)]).await.unwrap();
    assert_eq!(controller.getconf("ContactInfo").await.unwrap(), named("ContactInfo", None));

    // A group comes back in order, as it must be sent again.
    let service = folder.path().join("service");
    let service = service.to_str().unwrap();
    controller
        .setconf(&[
            ("HiddenServiceDir", Some(service)),
            ("HiddenServicePort", Some("80 unix:/nowhere")),
            ("HiddenServicePort", Some("81 127.0.0.1:1")),
        ])
        .await
        .unwrap();
    let group = controller.getconf("HiddenServiceOptions").await.unwrap();
    let expected = [
        ("HiddenServiceDir", service),
        ("HiddenServicePort", "80 unix:/nowhere"),
        ("HiddenServicePort", "81 127.0.0.1:1"),
    ];
    let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect();
    assert_eq!(group, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_when_they_are_asked_for() {
    // The only authority is a closed port of this machine, so tor may try to reach the network.
    let (tor, _folder) = tor(&format!(
        "CookieAuthentication 1\nTestingTorNetwork 1\nDirAuthority a orport=1 no-v2 v3ident={0} 127.0.0.1:1 {0}",
        "A".repeat(40)
    ));
    let (controller, mut events) =
        Controller::connect_with(&tor.unix(), &ControlAuth::Auto, PATIENT).await.unwrap();
    controller.setevents(&[EventKind::StatusClient]).await.unwrap();
    controller.setconf(&[("DisableNetwork", Some("0"))]).await.unwrap();
    match event(&mut events).await {
        TorEvent::StatusClient(status) => assert_eq!(status.action, "BOOTSTRAP", "{status:?}"),
        other => panic!("{other:?}"),
    }
    // All kinds that we know are known to tor.
    let all = [
        EventKind::HsDesc,
        EventKind::HsDescContent,
        EventKind::Circ,
        EventKind::CircMinor,
        EventKind::NewConsensus,
        EventKind::StatusClient,
        EventKind::StatusGeneral,
        EventKind::NetworkLiveness,
    ];
    controller.setevents(&all).await.unwrap();
    controller.setevents(&[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_obeyed() {
    let (mut tor, folder) = tor("CookieAuthentication 1");
    let (controller, mut events) =
        Controller::connect_with(&tor.unix(), &ControlAuth::Auto, PATIENT).await.unwrap();
    controller.setconf(&[("ContactInfo", Some("lost on reload"))]).await.unwrap();
    for signal in [Signal::Active, Signal::NewNym, Signal::Reload] {
        controller.signal(signal).await.unwrap();
    }
    let contact = controller.getconf("ContactInfo").await.unwrap();
    assert_eq!(contact, [("ContactInfo".to_owned(), None)], "SETCONF is lost on RELOAD");
    controller.signal(Signal::Shutdown).await.unwrap();
    assert_eq!(event(&mut events).await, TorEvent::Closed { reason: CloseReason::Eof });
    tor.wait_for_end();

    let mut tor = RealTor::start(folder.path(), "");
    let (controller, mut events) =
        Controller::connect_with(&tor.tcp(), &ControlAuth::Auto, PATIENT).await.unwrap();
    controller.signal(Signal::Halt).await.unwrap();
    assert!(matches!(event(&mut events).await, TorEvent::Closed { .. }));
    tor.wait_for_end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_seen_at_once_and_the_connection_comes_back() {
    let (mut tor, _folder) = tor("CookieAuthentication 1");
    let plan = BackoffPlan { stable_after: Duration::ZERO, ..BackoffPlan::default() };
    let mut reconnector = Reconnector::new(tor.unix(), ControlAuth::Auto, PATIENT, plan);
    let (controller, mut events) = timeout(PATIENCE, reconnector.next()).await.unwrap();
    let pid = controller.getinfo("process/pid").await.unwrap();

    let killed = Instant::now();
    tor.kill();
    assert!(matches!(event(&mut events).await, TorEvent::Closed { .. }));
    let noticed = killed.elapsed();
    assert!(noticed < Duration::from_secs(1), "noticed after {noticed:?}");
    println!("end of connection seen {noticed:?} after the kill");

    // It tries in vain, is dropped in the middle, and goes on.
    assert!(timeout(Duration::from_millis(500), reconnector.next()).await.is_err(), "nobody is there");
    tor.restart();
    let restarted = Instant::now();
    let (controller, _events) = timeout(PATIENCE, reconnector.next()).await.expect("it comes back");
    println!("reconnected {:?} after the restart", restarted.elapsed());
    assert_ne!(controller.getinfo("process/pid").await.unwrap(), pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_tor_times_out() {
    use nix::sys::signal::{Signal as UnixSignal, kill};
    use nix::unistd::Pid;

    let (tor, _folder) = tor("CookieAuthentication 1");
    let limits = crate::peer::QUICK;
    let (controller, mut events) =
        Controller::connect_with(&tor.unix(), &ControlAuth::Auto, limits).await.unwrap();
    let pid = Pid::from_raw(controller.getinfo("process/pid").await.unwrap().parse().unwrap());
    kill(pid, UnixSignal::SIGSTOP).unwrap();
    let error = controller.getinfo("version").await.unwrap_err();
    assert!(matches!(error, ControlError::TimedOut { command: "GETINFO", .. }), "{error}");
    assert!(matches!(event(&mut events).await, TorEvent::Closed { reason: CloseReason::TimedOut { .. } }));
    // The kernel still accepts for it.
    let error = Controller::connect_with(&tor.unix(), &ControlAuth::Auto, limits).await.unwrap_err();
    assert!(matches!(error, ControlError::TimedOut { command: "PROTOCOLINFO", .. }), "{error}");
    kill(pid, UnixSignal::SIGCONT).unwrap();
}
