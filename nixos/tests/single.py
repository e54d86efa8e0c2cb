# One node, started by systemd: every unit runs, sandboxed as it says; sockets answer while their daemons restart; a changed
# configuration is taken over or refused; killed, frozen and starved daemons come back, the watchdog's orders are carried
# out, and the whole node comes back after a reboot.
#
# There is no Tor network here: what clients would ask through the onion service is asked where tor would hand it over.

import shlex

DAEMONS = ["rustbalance-proxy", "rustbalance-coordinator", "rustbalance-publisher", "rustbalance-watchdog"]
TORS = ["rustbalance-tor@a", "rustbalance-tor@b"]
SOCKETS = [
    "rustbalance-proxy-onion",
    "rustbalance-proxy-control",
    "rustbalance-coordinator",
    "rustbalance-publisher",
    "rustbalance-watchdog",
    "rustbalance-watchdog-web",
]
#: Number of CAP_NET_ADMIN.
NET_ADMIN = 1 << 12
#: The exposure that a service may have, as systemd counts it.
MOST_EXPOSED = 1.5
#: How many requests run while something is done to a daemon.
REQUESTS = 25
#: One request, as tor would make it: the answer is the target's.
REQUEST = "curl --silent --show-error --fail --max-time 30 --unix-socket /run/rustbalance/onion.sock http://onion/"


CONFIG = "/etc/rustbalance/config.toml"
#: How often in a minute a daemon may be started that can never run: it waits five seconds before it ends.
MOST_STARTS = 12
#: An address that nobody has, and that no daemon may reach.
FOREIGN = "192.0.2.1"

#: One question to each control socket: every daemon answers.
QUESTION = "rustbalance status --json | tr -d ' \\n' | grep -q '\"silent\":\\[\\]'"


def is_serving() -> None:
    """The whole node is there."""
    for unit in [*DAEMONS, *TORS]:
        machine.wait_for_unit(f"{unit}.service", timeout=180)
    for unit in SOCKETS:
        machine.require_unit_state(f"{unit}.socket")
    assert machine.succeed(REQUEST) == "the target\n"
    machine.wait_until_succeeds("rustbalance status", timeout=60)


def main_pid(unit: str) -> int:
    """The number of a service's process."""
    return int(machine.get_unit_property(f"{unit}.service", "MainPID"))


def restarts(unit: str) -> int:
    """How often systemd restarted a service by itself."""
    return int(machine.get_unit_property(f"{unit}.service", "NRestarts"))


def back_after(unit: str, deed: str, result: str, within: int) -> None:
    """Does something to a service that ends it in one of these ways, and waits until it is there again anew."""
    pid, count, since = main_pid(unit), restarts(unit), machine.succeed("date +%s").strip()
    machine.succeed(deed)
    machine.wait_until_succeeds(f"[ $(systemctl show --value -p NRestarts {unit}) -gt {count} ]", timeout=within)
    machine.wait_for_unit(f"{unit}.service", timeout=60)
    assert main_pid(unit) not in (0, pid)
    ended = machine.succeed(f"journalctl --since @{since} -o cat -u {unit} --grep 'Failed with result'")
    assert any(f"'{way}'" in ended for way in result.split("|")), ended


def asked_meanwhile(request: str, deed: str, cut: int = 0) -> None:
    """Makes requests one after the other while something is done: none is refused, and at most `cut` are cut off."""
    script = f"for n in $(seq {REQUESTS}); do {request} >/dev/null 2>>errors || echo $n >>failed; done; touch done"
    machine.succeed("rm -f errors failed done; touch errors failed")
    machine.succeed(f"systemd-run --quiet --collect --working-directory=/tmp bash -c {shlex.quote(script)}")
    machine.succeed(deed)
    machine.wait_for_file("/tmp/done", timeout=120)
    failed, errors = machine.succeed("cat failed").split(), machine.succeed("cat errors")
    print(f"{len(failed)} of {REQUESTS} requests failed during: {deed}")
    assert len(failed) <= cut and "onnect" not in errors, errors


def now() -> str:
    """The guest's time, for `said`."""
    return machine.succeed("date +%s.%6N").strip()


def said(unit: str, since: str, words: str) -> str:
    """A command that succeeds if a service has logged such a line since."""
    return f"journalctl --since @{since} -o cat -u {unit} --grep {shlex.quote(words)}"


def configure(change: str) -> None:
    """Changes the configuration as sed says, beginning with the one that the node was made with."""
    machine.succeed(f"cp --preserve=mode,ownership /root/config.toml {CONFIG}; sed -i {shlex.quote(change)} {CONFIG}")


machine.start(allow_reboot=True)

with subtest("boot to serving"):
    machine.wait_for_unit("rustbalance.target")
    is_serving()
    print(machine.succeed("rustbalance status"))

with subtest("the tunnel is the kernel's"):
    assert "wireguard" in machine.succeed("ip -details link show wg-rb")

with subtest("the onion's key is in memory that is never swapped"):
    mounted = machine.succeed("findmnt --noheadings --output FSTYPE,OPTIONS /run/rustbalance/onion/a")
    assert mounted.startswith("tmpfs") and "noswap" in mounted, mounted
    machine.succeed("test -s /run/rustbalance/onion/a/hs_ed25519_secret_key")

with subtest("capabilities, privileges, system call filter and user of each process"):
    for unit in [*DAEMONS, *TORS]:
        status = dict(line.split(":", 1) for line in machine.succeed(f"cat /proc/{main_pid(unit)}/status").splitlines())
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

with subtest("sockets answer while their daemon restarts"):
    for daemon in DAEMONS:
        asked_meanwhile(REQUEST, f"systemctl restart {daemon}")
        asked_meanwhile(QUESTION, f"systemctl restart {daemon}")

with subtest("a changed configuration is taken over, a wrong one leaves the old one in force"):
    machine.succeed(f"cp --preserve=mode,ownership {CONFIG} /root/config.toml")
    since = now()
    configure('s,^target = .*,target = "unix:/run/no-such-target.sock",')
    machine.succeed("systemctl reload rustbalance-proxy")
    machine.wait_until_succeeds(said("rustbalance-proxy", since, "taken over: proxy.target"), timeout=60)
    machine.fail(REQUEST)
    configure("")
    machine.succeed("systemctl reload rustbalance-proxy")
    machine.wait_until_succeeds(REQUEST, timeout=60)
    pids = {daemon: main_pid(daemon) for daemon in DAEMONS}
    configure('s,^target = .*,target = "unix:/run/no-such-target.sock",; s,^# level = .*,level = "shout",')
    for daemon in DAEMONS:
        since = now()
        machine.succeed(f"systemctl reload {daemon}")
        refused = "the one from before stays in force: .*config.toml:[0-9]+: log.level"
        machine.wait_until_succeeds(said(daemon, since, refused), timeout=60)
    assert machine.succeed(REQUEST) == "the target\n"
    assert pids == {daemon: main_pid(daemon) for daemon in DAEMONS}

with subtest("a daemon with a wrong configuration is not started without a pause, although others wait for it"):
    configure('s,^# level = .*,level = "shout",')
    since = now()
    machine.fail("systemctl restart rustbalance-publisher")
    machine.sleep(60)
    starts = int(machine.succeed(f"journalctl --since @{since} -o cat -u rustbalance-publisher --grep status=78 | wc -l"))
    print(f"{starts} starts in a minute")
    assert 1 <= starts <= MOST_STARTS, starts
    configure("")
    machine.succeed("systemctl restart rustbalance-publisher")
    is_serving()

with subtest("systemd waits for a reload where it can"):
    for daemon in DAEMONS:
        folder = f"/run/systemd/system/{daemon}.service.d"
        drop_in = f"{folder}/reload.conf"
        machine.succeed(f"mkdir -p {folder}; printf '[Service]\\nType=notify-reload\\nExecReload=\\n' >{drop_in}")
    machine.succeed("systemctl daemon-reload")
    configure('s,^# level = .*,level = "debug",')
    for daemon in DAEMONS:
        since = now()
        machine.succeed(f"systemctl reload {daemon}", said(daemon, since, "taken over: log.level"))
    configure("")
    for daemon in DAEMONS:
        machine.succeed(f"systemctl reload {daemon}; rm /run/systemd/system/{daemon}.service.d/reload.conf")
    machine.succeed("systemctl daemon-reload")
    is_serving()

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

with subtest("a killed daemon is back, and nobody was refused"):
    for daemon in DAEMONS:
        # A request that the proxy was just carrying ends with it; nobody else's does.
        kill = f"systemctl kill --signal=KILL {daemon}"
        asked_meanwhile(REQUEST, f"{kill}; sleep 3; {kill}", cut=2 if daemon == "rustbalance-proxy" else 0)
    for unit in [*DAEMONS, *TORS]:
        back_after(unit, f"systemctl kill --signal=KILL {unit}", "signal", within=60)
    is_serving()

with subtest("a frozen daemon is ended by ours or by systemd's watchdog, and comes back"):
    for unit in [*DAEMONS, "rustbalance-tor@b"]:
        back_after(unit, f"systemctl kill --signal=STOP {unit}", "watchdog|signal", within=180)
    is_serving()

with subtest("the watchdog's orders to systemd are carried out"):
    # A new watchdog, as each gives a part few remedies, and every next one later. Systemd would leave a frozen tor for a
    # minute, and one that was stopped for ever.
    machine.succeed("systemctl restart rustbalance-watchdog")
    for deed, order, result in (
        ("kill --signal=STOP", "hangs; tries to kill .*, so that it is started anew", "Failed with result 'signal'"),
        ("stop", "is not there; tries to start", "Started rustbalance-tor@b.service"),
    ):
        since, pid = now(), main_pid("rustbalance-tor@b")
        machine.succeed(f"systemctl {deed} rustbalance-tor@b")
        machine.wait_until_succeeds(said("rustbalance-watchdog", since, order), timeout=180)
        machine.wait_until_succeeds(said("rustbalance-tor@b", since, result), timeout=60)
        machine.wait_for_unit("rustbalance-tor@b.service")
        assert main_pid("rustbalance-tor@b") not in (0, pid)
        machine.fail(said("rustbalance-watchdog", since, "could not"))
    is_serving()

with subtest("a daemon without memory is ended, and comes back serving"):
    for daemon in DAEMONS:
        starve = f"systemctl set-property --runtime {daemon} MemoryMax"
        back_after(daemon, f"{starve}=4K; sleep 0.5; {starve}=256M", "oom-kill", within=60)
    is_serving()

with subtest("the node comes back from a reboot"):
    machine.reboot()
    machine.wait_for_unit("rustbalance.target")
    is_serving()

with subtest("no service has complained about its sandbox since"):
    said = machine.succeed(
        "journalctl -b --no-pager -o cat --grep 'EPERM|Operation not permitted|Permission denied' || true"
    )
    assert said == "", said
