# One machine boots with nothing failed, its kernel has WireGuard, and tor is there.

machine.start()

with subtest("the machine boots and nothing has failed"):
    machine.wait_for_unit("multi-user.target")
    status, state = machine.execute("systemctl is-system-running --wait", timeout=240)
    assert status == 0, state + machine.succeed("systemctl --failed --no-pager")

with subtest("the kernel makes a WireGuard interface"):
    machine.succeed(
        "ip link add wg-smoke type wireguard",
        "wg genkey | wg set wg-smoke listen-port 51820 private-key /dev/stdin",
        "ip link set wg-smoke up",
    )
    assert "listening port: 51820" in machine.succeed("wg show wg-smoke")
    machine.fail("ip link add wg-smoke type wireguard")
    machine.succeed("ip link delete wg-smoke")

with subtest("tor is there"):
    print(machine.succeed("tor --version | head -n 1; uname -r; systemctl --version | head -n 1"))
