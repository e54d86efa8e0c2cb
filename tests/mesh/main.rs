//! The mesh between two nodes in network namespaces of their own: real tunnels, sealed datagrams across.
//!
//! Needs root, or a kernel that allows unprivileged user namespaces, `/dev/net/tun`, util-linux and iproute2.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod kernel;
mod node;
mod world;

use std::net::{IpAddr, SocketAddr};

use rustbalance::mesh::seal::MAX_PAYLOAD;
use rustbalance::mesh::socket::DEFAULT_PORT;
use rustbalance::mesh::tunnel::TunnelPrefix;

use node::{Answer, Order, PeerSeen, ROLE};
use world::{Node, Place, with_namespaces};

/// WireGuard's port in all tests; every node has all ports of its namespace.
const PORT: u16 = 51820;
/// How long a datagram may take: a handshake, its retry after 5 s, and a loaded machine.
const PATIENCE_MS: u64 = 20_000;
/// How long silence is waited for; a datagram that is let through takes a millisecond.
const SILENCE_MS: u64 = 700;

/// A node's process, when this binary was started as one.
#[test]
fn node_process() {
    if std::env::var_os(ROLE).is_some() {
        node::serve();
    }
}

/// One of two nodes, as the tests know it beforehand.
struct Side {
    seed: u64,
    name: &'static str,
    outer: IpAddr,
}

const ONE: Side = Side { seed: 1, name: "n1", outer: IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 77, 1)) };
const TWO: Side = Side { seed: 2, name: "n2", outer: IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 77, 2)) };

impl Side {
    fn key(&self) -> String {
        node::key(self.seed).public().to_string()
    }

    /// The tunnel address that follows from token and key.
    fn address(&self) -> String {
        TunnelPrefix::from_token(&node::token()).address_of(&node::key(self.seed).public()).to_string()
    }

    fn inner(&self) -> IpAddr {
        self.address().split_once('/').unwrap().0.parse().unwrap()
    }

    fn create(&self) -> Order {
        Order::Create { key_seed: self.seed, address: self.address(), port: PORT, kernel: false }
    }

    fn as_peer(&self, outer: Option<IpAddr>) -> Order {
        let endpoint = outer.map(|outer| SocketAddr::new(outer, PORT));
        Order::SetPeer { key: self.key(), address: self.inner(), endpoint }
    }

    fn up(&self, node: &mut Node) {
        node.must(&self.create());
        node.must(&Order::Listen { name: self.name.to_owned() });
    }
}

/// Two nodes with tunnels that know each other.
fn joined() -> (Place, Place, Node, Node) {
    let (place_one, place_two) = Place::pair();
    let (mut one, mut two) = (place_one.node(), place_two.node());
    ONE.up(&mut one);
    TWO.up(&mut two);
    one.must(&TWO.as_peer(Some(TWO.outer)));
    two.must(&ONE.as_peer(Some(ONE.outer)));
    (place_one, place_two, one, two)
}

#[track_caller]
fn delivers((from, sender): (&Side, &mut Node), (to, receiver): (&Side, &mut Node), payload: &str) {
    sender.must(&Order::Send { to: to.inner(), payload: payload.to_owned() });
    let outcome = Ok((from.name.to_owned(), payload.to_owned()));
    let expected = Answer::Received { from: from.inner(), outcome };
    assert_eq!(receiver.ask(&Order::Receive { wait_ms: PATIENCE_MS }), expected);
}

fn only_peer(node: &mut Node) -> PeerSeen {
    match node.ask(&Order::Peers) {
        Answer::Peers(mut peers) if peers.len() == 1 => peers.remove(0),
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn sealed_datagrams_cross_a_real_tunnel_of_derived_addresses() {
    with_namespaces("sealed_datagrams_cross_a_real_tunnel_of_derived_addresses", || {
        let (place, _place_two, mut one, mut two) = joined();
        delivers((&ONE, &mut one), (&TWO, &mut two), "there");
        delivers((&TWO, &mut two), (&ONE, &mut one), "and back");
        // The longest: it must fit the tunnel's MTU in one piece.
        delivers((&ONE, &mut one), (&TWO, &mut two), &"x".repeat(MAX_PAYLOAD));

        let peer = only_peer(&mut one);
        assert_eq!(peer.key, TWO.key());
        assert_eq!(peer.endpoint, Some(SocketAddr::new(TWO.outer, PORT)));
        assert_eq!(peer.addresses, [TWO.inner()]);
        assert!(peer.handshake_age_secs.unwrap() < 30, "{peer:?}");
        assert!(peer.received_bytes > 0 && peer.sent_bytes > MAX_PAYLOAD as u64, "{peer:?}");
        one.must(&Order::Check);

        // The operator's own tool sees the same.
        let shown = place.run(&["wg", "show", "wg-rb", "latest-handshakes"]);
        if shown.status.success() {
            assert!(String::from_utf8_lossy(&shown.stdout).contains(&TWO.key()), "{shown:?}");
        }

        one.must(&Order::Remove);
        assert!(!place.ip(&["link"]).contains("wg-rb"));
        assert!(place.run(&["sh", "-c", "test -z \"$(ls /run/wireguard)\""]).status.success());
        ONE.up(&mut one);
        one.must(&TWO.as_peer(Some(TWO.outer)));
        delivers((&ONE, &mut one), (&TWO, &mut two), "again");
    });
}

#[test]
fn explicit_ipv4_addresses_and_an_ipv6_path_work_too() {
    with_namespaces("explicit_ipv4_addresses_and_an_ipv6_path_work_too", || {
        let (place_one, place_two) = Place::pair();
        let (mut one, mut two) = (place_one.node(), place_two.node());
        let create = |seed, address: &str| Order::Create {
            key_seed: seed,
            address: address.to_owned(),
            port: 0,
            kernel: false,
        };
        let Answer::Created { port, kernel: false } = one.ask(&create(1, "10.9.9.1/24")) else { panic!() };
        assert_ne!(port, 0);
        two.must(&create(2, "10.9.9.2/24"));
        one.must(&Order::Listen { name: "n1".to_owned() });
        two.must(&Order::Listen { name: "n2".to_owned() });
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        // One does not know where two is and learns it from two's first packet.
        one.must(&Order::SetPeer { key: TWO.key(), address: address("10.9.9.2"), endpoint: None });
        let endpoint = Some(SocketAddr::new(address("fd77::1"), port));
        two.must(&Order::SetPeer { key: ONE.key(), address: address("10.9.9.1"), endpoint });
        two.must(&Order::Send { to: address("10.9.9.1"), payload: "v4 in v6".to_owned() });
        let outcome = Ok(("n2".to_owned(), "v4 in v6".to_owned()));
        let expected = Answer::Received { from: address("10.9.9.2"), outcome };
        assert_eq!(one.ask(&Order::Receive { wait_ms: PATIENCE_MS }), expected);
        assert_eq!(only_peer(&mut one).endpoint.unwrap().ip(), address("fd77::2"));
    });
}

#[test]
fn a_removed_peer_is_not_heard_any_more() {
    with_namespaces("a_removed_peer_is_not_heard_any_more", || {
        let (_places, _, mut one, mut two) = joined();
        delivers((&TWO, &mut two), (&ONE, &mut one), "before");
        one.must(&Order::RemovePeer { key: TWO.key() });
        assert_eq!(one.ask(&Order::Peers), Answer::Peers(vec![]));
        two.must(&Order::Send { to: ONE.inner(), payload: "after".to_owned() });
        assert_eq!(one.ask(&Order::Receive { wait_ms: SILENCE_MS }), Answer::Silence);
        assert_eq!(one.refuses(&Order::RemovePeer { key: TWO.key() }), "no such peer");

        one.must(&TWO.as_peer(Some(TWO.outer)));
        // The session is another one, so one speaks first; two's own attempt comes seconds later.
        delivers((&ONE, &mut one), (&TWO, &mut two), "welcome back");
        delivers((&TWO, &mut two), (&ONE, &mut one), "thank you");
    });
}

#[test]
fn the_tunnel_follows_a_peer_that_moves() {
    with_namespaces("the_tunnel_follows_a_peer_that_moves", || {
        let (_place_one, place_two, mut one, mut two) = joined();
        delivers((&ONE, &mut one), (&TWO, &mut two), "at home");
        place_two.ip(&["address", "add", "192.168.77.99/24", "dev", "cable"]);
        place_two.ip(&["address", "delete", "192.168.77.2/24", "dev", "cable"]);
        place_two.ip(&["address", "replace", "192.168.77.99/24", "dev", "cable"]);
        delivers((&TWO, &mut two), (&ONE, &mut one), "moved");
        let moved = Some("192.168.77.99:51820".parse().unwrap());
        assert_eq!(only_peer(&mut one).endpoint, moved);
        // Telling it once more what it was told before must not send it back to the old place.
        one.must(&TWO.as_peer(Some(TWO.outer)));
        assert_eq!(only_peer(&mut one).endpoint, moved);
        delivers((&ONE, &mut one), (&TWO, &mut two), "found");
    });
}

#[test]
fn a_crash_leaves_nothing_that_a_restart_stumbles_over() {
    with_namespaces("a_crash_leaves_nothing_that_a_restart_stumbles_over", || {
        let (place_one, _place_two, mut one, mut two) = joined();
        delivers((&ONE, &mut one), (&TWO, &mut two), "before");

        // While it lives, a second process must not take its place.
        let mut second = place_one.node();
        let reason = second.refuses(&ONE.create());
        assert!(reason.contains("another process carries the tunnel wg-rb"), "{reason}");
        delivers((&TWO, &mut two), (&ONE, &mut one), "still here");

        one.kill();
        let socket = place_one.run(&["test", "-S", "/run/wireguard/wg-rb.sock"]);
        assert!(socket.status.success(), "kill -9 should have left the control socket behind");
        ONE.up(&mut second);
        second.must(&TWO.as_peer(Some(TWO.outer)));
        delivers((&ONE, &mut second), (&TWO, &mut two), "after");
    });
}

#[test]
fn nothing_is_heard_but_what_came_through_the_tunnel() {
    with_namespaces("nothing_is_heard_but_what_came_through_the_tunnel", || {
        let (place_one, place_two) = Place::pair();
        let (mut one, mut two) = (place_one.node(), place_two.node());
        TWO.up(&mut two);
        // A stranger on the same wire reaches two's tunnel address by a route of his own.
        let tunnel = TWO.inner().to_string();
        place_one.ip(&["-6", "route", "add", &format!("{tunnel}/128"), "via", "fd77::2", "dev", "cable"]);

        // An ordinary socket on that address does hear him: Linux does not care which way a packet came.
        let neighbour = SocketAddr::new(TWO.inner(), DEFAULT_PORT + 1);
        two.tell(&Order::HearPlain { address: neighbour, wait_ms: PATIENCE_MS });
        one.must(&Order::SendPlain { to: neighbour, times: 20 });
        let heard = two.answer();
        assert!(matches!(heard, Answer::Received { .. }), "{heard:?}");

        // The mesh's socket does not, on the tunnel address nor on the outer one.
        one.must(&Order::SendPlain { to: SocketAddr::new(TWO.inner(), DEFAULT_PORT), times: 3 });
        one.must(&Order::SendPlain { to: SocketAddr::new(TWO.outer, DEFAULT_PORT), times: 3 });
        assert_eq!(two.ask(&Order::Receive { wait_ms: SILENCE_MS }), Answer::Silence);
    });
}

#[test]
fn peers_that_would_disturb_others_are_refused() {
    with_namespaces("peers_that_would_disturb_others_are_refused", || {
        let place = Place::new();
        let mut one = place.node();
        one.must(&ONE.create());
        let peer = |key: String, address: IpAddr| Order::SetPeer { key, address, endpoint: None };
        let stranger = node::key(3).public().to_string();
        assert!(one.refuses(&peer(ONE.key(), TWO.inner())).contains("this node's own"));
        assert!(one.refuses(&peer(TWO.key(), ONE.inner())).contains("belongs to another node"));
        assert!(one.refuses(&peer(TWO.key(), TWO.outer)).contains("not in this node's tunnel network"));
        one.must(&peer(TWO.key(), TWO.inner()));
        assert!(one.refuses(&peer(stranger.clone(), TWO.inner())).contains("belongs to another node"));
        one.must(&Order::RemovePeer { key: TWO.key() });
        one.must(&peer(stranger, TWO.inner()));
    });
}

#[test]
fn damage_to_the_interface_is_noticed_and_repaired_by_creating_it_again() {
    with_namespaces("damage_to_the_interface_is_noticed_and_repaired_by_creating_it_again", || {
        let place = Place::new();
        let mut one = place.node();
        let address = ONE.address();
        let damages: [(&[&str], &str); 4] = [
            (&["link", "set", "wg-rb", "down"], "is down"),
            (&["link", "set", "wg-rb", "mtu", "1400"], "MTU was changed to 1400"),
            (&["address", "delete", &address, "dev", "wg-rb"], "has lost its tunnel address"),
            (&["link", "delete", "wg-rb"], "is gone"),
        ];
        for (damage, fault) in damages {
            one.must(&ONE.create());
            one.must(&Order::Check);
            place.ip(damage);
            let reason = one.refuses(&Order::Check);
            assert!(reason.contains(fault), "{damage:?}: {reason}");
        }
        one.must(&ONE.create());
        one.must(&Order::Check);
        // The control socket taken away: WireGuard still runs, but nobody can ask it.
        assert!(place.run(&["rm", "/run/wireguard/wg-rb.sock"]).status.success());
        assert!(one.refuses(&Order::Check).contains("does not answer"));
        one.must(&ONE.create());
        one.must(&Order::Check);
    });
}

#[test]
fn what_stands_in_the_way_is_named_and_left_alone() {
    with_namespaces("what_stands_in_the_way_is_named_and_left_alone", || {
        let place = Place::new();
        let mut one = place.node();
        place.ip(&["tuntap", "add", "dev", "wg-rb", "mode", "tun"]);
        assert!(one.refuses(&ONE.create()).contains("wg-rb exists and is not ours"));
        assert!(place.ip(&["link"]).contains("wg-rb"));
        place.ip(&["link", "delete", "wg-rb"]);

        let mut other = place.node();
        other.tell(&Order::HearPlain { address: SocketAddr::new([0; 16].into(), PORT), wait_ms: 3_000 });
        while !place.run(&["sh", "-c", "grep -q :CA6C /proc/net/udp6"]).status.success() {}
        assert!(one.refuses(&ONE.create()).contains("UDP port 51820 is in use"));
        assert_eq!(other.answer(), Answer::Silence);

        one.must(&ONE.create());
        one.must(&Order::Remove);
        assert!(
            place.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"]).status.success()
        );
        let reason = one.refuses(&ONE.create());
        assert!(reason.contains("IPv6 must not be disabled"), "{reason}");
        assert!(!place.ip(&["link"]).contains("wg-rb"), "a failed start must leave nothing behind");
    });
}

/// An ordinary user with nothing but `CAP_NET_ADMIN`, as the coordinator's unit makes one; and without it.
#[test]
fn one_capability_is_enough_and_needed() {
    with_namespaces("one_capability_is_enough_and_needed", || {
        let (place_one, place_two) = Place::pair();
        // In a user namespace of an ordinary user there is no second user to become; then only rights differ.
        let users =
            place_one.run(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "true"]);
        let become_user: &[&str] = if users.status.success() {
            &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]
        } else {
            &["setpriv", "--no-new-privs"]
        };
        let with = [
            "--inh-caps",
            "-all,+net_admin",
            "--ambient-caps",
            "-all,+net_admin",
            "--bounding-set",
            "-all,+net_admin",
        ];
        let without = ["--inh-caps", "-all", "--ambient-caps", "-all", "--bounding-set", "-all"];
        // What RuntimeDirectory=wireguard does.
        assert!(place_one.run(&["mkdir", "-m", "0700", "/run/wireguard"]).status.success());
        if users.status.success() {
            assert!(place_one.run(&["chown", "65534:65534", "/run/wireguard"]).status.success());
        }

        let mut poor = place_one.node_through(&[become_user, &without].concat());
        let reason = poor.refuses(&ONE.create());
        assert!(reason.contains("needs CAP_NET_ADMIN"), "{reason}");

        let mut one = place_one.node_through(&[become_user, &with].concat());
        let mut two = place_two.node();
        ONE.up(&mut one);
        TWO.up(&mut two);
        let status = std::fs::read_to_string(format!("/proc/{}/status", one.pid())).unwrap();
        assert!(status.contains("CapEff:\t0000000000001000"), "{status}");
        one.must(&TWO.as_peer(Some(TWO.outer)));
        two.must(&ONE.as_peer(Some(ONE.outer)));
        delivers((&ONE, &mut one), (&TWO, &mut two), "from an ordinary user");
        one.must(&Order::Check);
        one.must(&Order::Remove);
        assert!(!place_one.ip(&["link"]).contains("wg-rb"));
    });
}
