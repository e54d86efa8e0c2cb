# One node, rebooted, and then switched off in the middle: it comes back by itself as the node that it was.

import time

#: What makes a node the one it is.
FILES = "/etc/rustbalance/hs_ed25519_secret_key /etc/rustbalance/wireguard.key /etc/rustbalance/cluster.token"


def identity() -> str:
    """The node's keys and its files' owners, as far as they may be seen here."""
    return machine.succeed(f"sha256sum {FILES}; stat --format '%n %U %G %a' /etc/rustbalance/*")


machine.start(allow_reboot=True)

with subtest("boot to serving"):
    machine.wait_for_unit("rustbalance.target")
    is_serving(machine)
    onion, before = onion_of(machine), identity()

with subtest("the node comes back from a reboot"):
    boot = machine.succeed("cat /proc/sys/kernel/random/boot_id")
    down = time.monotonic()
    machine.reboot()
    machine.wait_for_unit("rustbalance.target")
    assert machine.succeed("cat /proc/sys/kernel/random/boot_id") != boot
    is_serving(machine)
    measured("rebooted: it serves", time.monotonic() - down)
    assert (onion_of(machine), identity()) == (onion, before)

with subtest("the node comes back after its power was cut"):
    machine.succeed("sync")
    machine.crash()
    on = time.monotonic()
    machine.start()
    machine.wait_for_unit("rustbalance.target")
    is_serving(machine)
    measured("switched on: it serves", time.monotonic() - on)
    assert (onion_of(machine), identity()) == (onion, before)

with subtest("no service has complained about its sandbox"):
    nothing_was_denied(machine)
