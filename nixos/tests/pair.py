# Two machines reach each other through the kernel's WireGuard; the network is cut and joined again, one crashes and
# reboots: what the tests of a cluster do to its nodes.

PORT = 51820
MACHINES = {"alpha": (alpha, "10.9.0.1"), "beta": (beta, "10.9.0.2")}


def make_tunnel(name: str, peer: str) -> None:
    """Makes wg-pair on one machine, with the other one as its peer."""
    machine, address = MACHINES[name]
    other, other_address = MACHINES[peer]
    key = other.succeed("wg pubkey <private").strip()
    machine.succeed(
        "ip link add wg-pair type wireguard",
        f"wg set wg-pair listen-port {PORT} private-key private "
        f"peer {key} endpoint {peer}:{PORT} allowed-ips {other_address}/32",
        f"ip address add {address}/24 dev wg-pair",
        "ip link set wg-pair up",
    )


def ping(address: str) -> str:
    """Asks once, waits two seconds for the answer."""
    return f"ping -c 1 -W 2 {address}"


alpha.start()
beta.start(allow_reboot=True)

with subtest("the machines know each other by name"):
    for name, (machine, _) in MACHINES.items():
        machine.wait_for_unit("multi-user.target")
        assert machine.succeed("hostname").strip() == name
    alpha.wait_until_succeeds(ping("beta"), timeout=60)
    beta.succeed(ping("alpha"))

with subtest("they reach each other through WireGuard"):
    for machine, _ in MACHINES.values():
        machine.succeed("umask 077; wg genkey >private")
    make_tunnel("alpha", "beta")
    make_tunnel("beta", "alpha")
    alpha.wait_until_succeeds(ping("10.9.0.2"), timeout=60)
    beta.succeed(ping("10.9.0.1"))
    assert "latest handshake" in alpha.succeed("wg show wg-pair")

with subtest("a machine that is cut off is not reached, and is again afterwards"):
    alpha.block()
    alpha.fail(ping("10.9.0.2"))
    beta.fail(ping("alpha"))
    alpha.unblock()
    alpha.wait_until_succeeds(ping("10.9.0.2"), timeout=60)

with subtest("a machine comes back from a reboot with its files"):
    beta.succeed("echo kept >/var/tmp/kept; sync")
    before = beta.succeed("cat /proc/sys/kernel/random/boot_id")
    beta.reboot()
    beta.wait_for_unit("multi-user.target")
    assert beta.succeed("cat /proc/sys/kernel/random/boot_id") != before
    beta.wait_for_file("/var/tmp/kept")

with subtest("a machine that crashes is gone, and comes back with its files"):
    beta.crash()
    alpha.fail(ping("beta"))
    beta.start()
    beta.wait_for_unit("multi-user.target")
    assert beta.succeed("cat /var/tmp/kept") == "kept\n"
    alpha.wait_until_succeeds(ping("beta"), timeout=60)

with subtest("machines switch themselves off"):
    alpha.shutdown()
    assert not alpha.is_up()
