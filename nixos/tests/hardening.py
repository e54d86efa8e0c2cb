# What one node's processes may do: capabilities, user and system call filter as the kernel has them, how systemd rates each
# unit, which addresses each daemon reaches, and where the onion's key lies.

#: Number of CAP_NET_ADMIN.
NET_ADMIN = 1 << 12
#: The exposure that a service may have, as systemd counts it.
MOST_EXPOSED = 1.5
#: An address that nobody has, and that no daemon may reach.
FOREIGN = "192.0.2.1"

machine.start()

with subtest("boot to serving"):
    machine.wait_for_unit("rustbalance.target")
    is_serving(machine)

with subtest("the tunnel is the kernel's"):
    assert "wireguard" in machine.succeed("ip -details link show wg-rb")

with subtest("the onion's key is in memory that is never swapped"):
    mounted = machine.succeed("findmnt --noheadings --output FSTYPE,OPTIONS /run/rustbalance/onion/a")
    assert mounted.startswith("tmpfs") and "noswap" in mounted, mounted
    machine.succeed("test -s /run/rustbalance/onion/a/hs_ed25519_secret_key")

with subtest("capabilities, privileges, system call filter and user of each process"):
    for unit in [*DAEMONS, *TORS]:
        status = dict(line.split(":", 1) for line in machine.succeed(f"cat /proc/{main_pid(machine, unit)}/status").splitlines())
        shown = {name: status[name].strip() for name in ("NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups")}
        sets = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        print(f"{unit}: {shown} { ({name: hex(value) for name, value in sets.items()}) }")
        assert shown["NoNewPrivs"] == "1" and shown["Seccomp"] == "2", unit
        user = machine.get_unit_property(f"{unit}.service", "User")
        assert shown["Uid"].split() == [machine.succeed(f"id -u {user}").strip()] * 4, unit
        allowed = NET_ADMIN if unit == "rustbalance-coordinator" else 0
        for name, value in sets.items():
            assert value in (0, allowed), f"{unit}: {name} is {value:#x}"
        assert sets["CapEff"] == allowed, unit

with subtest("systemd finds each service little exposed"):
    for unit in [*DAEMONS, *TORS, "rustbalance-onion-key"]:
        score = machine.succeed(f"systemd-analyze security --no-pager {unit}.service | tail -n 1").strip()
        print(score)
        assert float(score.split(": ")[1].split()[0]) <= MOST_EXPOSED, unit

with subtest("no daemon reaches an address that its unit denies"):
    machine.succeed(f"ip address add {FOREIGN}/32 dev lo")
    ping = "ping -c 1 -W 5"
    for daemon in DAEMONS:
        # A process in the daemon's own control group, with all of root's rights, is subject to its filter.
        group = machine.get_unit_property(f"{daemon}.service", "ControlGroup")
        inside = f"echo $$ >/sys/fs/cgroup{group}/cgroup.procs"
        machine.succeed(f"{ping} {FOREIGN}")
        machine.fail(f"{inside} || exit 0; {ping} {FOREIGN}", f"{inside} || exit 0; {ping} 127.0.0.1")
    # What is left to the coordinator: the tunnel, here by its address.
    tunnel = machine.succeed("ip -brief -6 address show wg-rb | grep -o ' fd[0-9a-f:]*' | head -n 1").strip()
    group = machine.get_unit_property("rustbalance-coordinator.service", "ControlGroup")
    machine.succeed(f"echo $$ >/sys/fs/cgroup{group}/cgroup.procs; {ping} {tunnel}")
    machine.succeed(f"ip address del {FOREIGN}/32 dev lo")

with subtest("no service has complained about its sandbox"):
    nothing_was_denied(machine)
