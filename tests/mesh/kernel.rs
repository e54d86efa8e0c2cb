//! The kernel's WireGuard, where the kernel has it; elsewhere the refusal must say that it is missing.
//!
//! `tests/vm/run mesh` runs all tests of the mesh on a kernel that has it.

use crate::node::{Answer, Order};
use crate::world::{Place, with_namespaces};
use crate::{ONE, PORT, Side, TWO, delivers, only_peer};
use rustbalance::mesh::seal::MAX_PAYLOAD;

fn create(side: &Side) -> Order {
    Order::Create { key_seed: side.seed, address: side.address(), port: PORT, kernel: true }
}

/// Whether the kernel has WireGuard; where it has not, the refusal is checked instead.
fn kernel_has_wireguard(place: &Place) -> bool {
    let probe = place.run(&["ip", "link", "add", "probe", "type", "wireguard"]);
    if !probe.status.success() {
        let reason = place.node().refuses(&create(&ONE));
        assert!(reason.contains("this kernel has no WireGuard"), "{reason}");
        assert!(std::env::var_os("RB_KERNEL_WIREGUARD").is_none(), "this kernel should have WireGuard");
    }
    probe.status.success()
}

#[test]
fn the_kernel_and_the_userspace_tunnel_understand_each_other() {
    with_namespaces("kernel::the_kernel_and_the_userspace_tunnel_understand_each_other", || {
        let (place_one, place_two) = Place::pair();
        if !kernel_has_wireguard(&place_one) {
            return;
        }
        let (mut one, mut two) = (place_one.node(), place_two.node());
        assert_eq!(one.ask(&create(&ONE)), Answer::Created { kernel: true, port: PORT });
        one.must(&Order::Listen { name: ONE.name.to_owned() });
        TWO.up(&mut two);
        one.must(&TWO.as_peer(None));
        two.must(&ONE.as_peer(Some(ONE.outer)));
        delivers((&TWO, &mut two), (&ONE, &mut one), "from userspace");
        delivers((&ONE, &mut one), (&TWO, &mut two), &"x".repeat(MAX_PAYLOAD));
        one.must(&Order::Check);

        let peer = only_peer(&mut one);
        assert_eq!((peer.key, peer.addresses), (TWO.key(), vec![TWO.inner()]));
        assert_eq!(peer.endpoint.unwrap().ip(), TWO.outer);
        assert!(peer.handshake_age_secs.unwrap() < 60 && peer.received_bytes > 0);

        one.must(&Order::RemovePeer { key: TWO.key() });
        assert_eq!(one.ask(&Order::Peers), Answer::Peers(vec![]));
        // The kernel says at once that it knows nobody there.
        let nobody = Order::Send { to: TWO.inner(), payload: String::new() };
        assert!(one.refuses(&nobody).contains("cannot send"));

        place_one.ip(&["link", "delete", "wg-rb"]);
        assert!(one.refuses(&Order::Check).contains("is gone"));
        one.must(&create(&ONE));
        one.must(&Order::Remove);
        assert!(!place_one.ip(&["link"]).contains("wg-rb"));
    });
}

#[test]
fn a_left_over_of_ours_is_replaced_and_a_strangers_interface_is_not() {
    with_namespaces("kernel::a_left_over_of_ours_is_replaced_and_a_strangers_interface_is_not", || {
        let place = Place::new();
        if !kernel_has_wireguard(&place) {
            return;
        }
        let crash = |seed: &Side| {
            let mut node = place.node();
            node.must(&create(seed));
            node.must(&if seed.seed == ONE.seed { TWO.as_peer(None) } else { ONE.as_peer(None) });
            node.kill();
            assert!(place.ip(&["link"]).contains("wg-rb"), "the kernel's interface outlives the process");
        };
        let unlabel = || place.ip(&["link", "set", "wg-rb", "alias", ""]);
        let mut node = place.node();

        // Ours by its label, whatever the key; by its key, without the label; and before it had either.
        crash(&ONE);
        node.must(&create(&TWO));
        node.must(&Order::Remove);
        crash(&ONE);
        unlabel();
        node.must(&create(&ONE));
        assert_eq!(node.ask(&Order::Peers), Answer::Peers(vec![]), "the left-over's peers are gone");
        node.must(&Order::Remove);
        place.ip(&["link", "add", "wg-rb", "type", "wireguard"]);
        node.must(&create(&ONE));
        node.must(&Order::Remove);

        crash(&ONE);
        unlabel();
        let reason = node.refuses(&create(&TWO));
        assert!(reason.contains("wg-rb exists and is not ours"), "{reason}");
        assert!(place.ip(&["link"]).contains("wg-rb"));
    });
}
