# A node on a private Tor network: clients on another machine fetch from its onion address, through Tor, while each of its
# daemons is killed again and again. Who hands over connections, keeps keys or repairs may die without a failed request;
# of the proxy's end only those notice whose connection it was just carrying.

import json
import shlex
from collections import Counter

DAEMONS = ["rustbalance-coordinator", "rustbalance-publisher", "rustbalance-watchdog", "rustbalance-proxy"]
TORS = ["rustbalance-tor@a", "rustbalance-tor@b"]
#: The machine `network`, the first of two by name.
ADDRESS = "192.168.1.1"
#: What a tor elsewhere needs to be in the network.
MEMBERSHIP = "/run/tor-network.conf"
#: An emulated processor is so many times as slow as one on which the lab runs its Tor network.
SLOWNESS = 6
#: How long the slowest machine may take to start everything, in seconds.
PATIENCE = 1200
SOCKS = "127.0.0.1:9050"
#: Requests that run while a daemon is killed, and clients that make them, each one after the other.
REQUESTS = 200
CLIENTS = 8
#: So many requests of a client go over one circuit; then it asks for a new one.
PER_CIRCUIT = 5
#: The daemon is killed each time that so many requests have ended.
KILLS = [20, 80, 140]
#: How curl ends when a connection that was made is cut off: nothing received, less received than announced, reset.
CUT_OFF = {"52", "18", "56"}


def membership() -> str:
    """Lines of a torrc that belong to the network."""
    return network.succeed(f"cat {MEMBERSHIP}")


def fetch(circuit: str) -> str:
    """One request by a client of that name; the answer must be the target's."""
    curl = f"curl --silent --show-error --fail --max-time 180 --proxy socks5h://{circuit}:x@{SOCKS} http://{onion}/"
    return f"[ \"$({curl})\" = 'the target' ]"


def restarts(unit: str) -> int:
    """How often systemd restarted a service by itself."""
    return int(node.get_unit_property(f"{unit}.service", "NRestarts"))


def requests_while(daemon: str) -> list[str]:
    """Runs all requests, and kills the daemon meanwhile; what went wrong, a line for each request: how curl ended."""
    each = REQUESTS // CLIENTS
    curl = f"curl --silent --show-error --fail --max-time 180 --proxy socks5h://$1-$((n / {PER_CIRCUIT})):x@{SOCKS}"
    client = (
        f"for n in $(seq 0 {each - 1}); do answer=$({curl} http://{onion}/ 2>&1); status=$?; "
        '[ "$answer" = "the target" ] || [ $status != 0 ] || status=wrong; echo "$status $answer" >>/tmp/ended; done'
    )
    clients = f"for c in $(seq {CLIENTS}); do bash -c {shlex.quote(client)} - {daemon}-$c & done; wait; touch /tmp/done"
    network.succeed("rm -f /tmp/done; : >/tmp/ended")
    network.succeed(f"systemd-run --quiet --collect bash -c {shlex.quote(clients)}")
    for ended in KILLS:
        network.wait_until_succeeds(f"[ $(wc -l </tmp/ended) -ge {ended} ]", timeout=PATIENCE)
        node.succeed(f"systemctl kill --signal=KILL {daemon}")
    network.fail("test -e /tmp/done")
    network.wait_for_file("/tmp/done", timeout=PATIENCE)
    lines = network.succeed("cat /tmp/ended").splitlines()
    assert len(lines) == REQUESTS, len(lines)
    return [line for line in lines if line != "0 the target"]


node.start(allow_reboot=True)
network.start()

with subtest("a private Tor network"):
    network.wait_for_unit("multi-user.target")
    network.succeed(
        f"systemd-run --quiet --unit=tor-network --property=Type=notify --property=TimeoutStartSec={PATIENCE} "
        f"$(command -v rustbalance-lab) --network-only {ADDRESS} --slowness {SLOWNESS} --torrc {MEMBERSHIP}",
        timeout=PATIENCE,
    )
    print(membership())

with subtest("the node is told of it, as an operator would, and boots to serving"):
    node.wait_for_unit("rustbalance.target")
    onion = json.loads(node.succeed("rustbalance inspect address /etc/rustbalance --json"))["address"]
    lines = shlex.quote(membership())
    node.succeed("mkdir -p /etc/rustbalance-tor/local.d", f"echo {lines} >/etc/rustbalance-tor/local.d/network.conf")
    node.reboot()
    client = f"DataDirectory /var/lib/tor-client\nSocksPort {SOCKS}\nLog notice stdout\n"
    network.succeed(
        "mkdir -m 700 /var/lib/tor-client",
        f"printf {shlex.quote(client)} | cat {MEMBERSHIP} - >/run/tor-client.conf",
        "systemd-run --quiet --unit=tor-client $(command -v tor) --defaults-torrc /dev/null -f /run/tor-client.conf",
    )
    network.wait_until_succeeds(fetch("first"), timeout=PATIENCE)
    print(f"the first page came {node.succeed('cut -d . -f 1 /proc/uptime').strip()} s after the node's boot")
    for unit in [*DAEMONS, *TORS]:
        node.require_unit_state(f"{unit}.service")

for daemon in DAEMONS:
    with subtest(f"{daemon} is killed {len(KILLS)} times while {REQUESTS} requests run through Tor"):
        others = {unit: restarts(unit) for unit in [*DAEMONS, *TORS] if unit != daemon}
        before = restarts(daemon)
        wrong = requests_while(daemon)
        print(f"{daemon}: {len(wrong)} of {REQUESTS} requests failed: {dict(Counter(wrong))}")
        node.wait_for_unit(f"{daemon}.service")
        assert restarts(daemon) == before + len(KILLS), restarts(daemon)
        assert others == {unit: restarts(unit) for unit in others}
        if daemon == "rustbalance-proxy":
            # Each client has one connection at a time that can be cut; none is refused, nor waits in vain.
            assert len(wrong) <= CLIENTS * len(KILLS)
            assert {line.split()[0] for line in wrong} <= CUT_OFF, wrong
        else:
            assert wrong == []

with subtest("all is well afterwards"):
    network.succeed(fetch("last"))
    node.wait_until_succeeds("rustbalance status", timeout=300)
    print(node.succeed("rustbalance status"))
