# What scripts have in common. It is laid before each of them, and only defines; every function is told which machine it
# is about.

import json
import shlex
import time

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
#: One request, as tor would make it: the answer is the target's.
REQUEST = "curl --silent --show-error --fail --max-time 30 --unix-socket /run/rustbalance/onion.sock http://onion/"
#: One question to each control socket: every daemon answers.
QUESTION = "rustbalance status --json | tr -d ' \\n' | grep -q '\"silent\":\\[\\]'"
#: How many requests run while something is done to a daemon.
ASKED_MEANWHILE = 25
#: How long the slowest machine may take to start everything, in seconds.
PATIENCE = 1200

#: What a tor elsewhere needs to be in the private Tor network, as a file of the machine `network`.
MEMBERSHIP = "/run/tor-network.conf"
#: An emulated processor is so many times as slow as one on which the lab runs its Tor network.
SLOWNESS = 6
SOCKS = "127.0.0.1:9050"
#: A shell's words for the machine's own address. NixOS gives its name one of the loopback interface too.
OWN_ADDRESS = "$(sed -n \"s/^\\(192[.]168[.][0-9.]*\\) .*\\b$(hostname)\\b.*/\\1/p\" /etc/hosts | head -n 1)"
#: How long the client's tor lets the building of a circuit take, in seconds. A tor that has run for a while has learned from its
#: own circuits what is long, some seconds on most networks; a new one gives them a minute, and three of these to a node that
#: was introduced to it and does not come, as one without power does not.
BUILDING = 15
#: A request that takes longer has failed, for a client that fetches again and again; in seconds.
LONGEST_REQUEST = 60
#: So many requests of a client go over one circuit; then it asks for a new one.
PER_CIRCUIT = 5

#: What was measured, in seconds or a number of things, by its name. Our harness keeps it as a file, for the failure matrix.
MEASURES: dict[str, float] = {}


def measured(what: str, value: float) -> None:
    """Tells what was measured, and keeps it; of what is measured more than once the largest."""
    print(f"measured: {what}: {value:.1f}")
    MEASURES[what] = max(round(value, 1), MEASURES.get(what, 0))


def is_serving(machine) -> None:
    """A whole node is there."""
    for unit in [*DAEMONS, *TORS]:
        machine.wait_for_unit(f"{unit}.service", timeout=300)
    for unit in SOCKETS:
        machine.require_unit_state(f"{unit}.socket")
    assert machine.succeed(REQUEST) == "the target\n"
    machine.wait_until_succeeds("rustbalance status", timeout=120)


def main_pid(machine, unit: str) -> int:
    """The number of a service's process."""
    return int(machine.get_unit_property(f"{unit}.service", "MainPID"))


def restarts(machine, unit: str) -> int:
    """How often systemd restarted a service by itself."""
    return int(machine.get_unit_property(f"{unit}.service", "NRestarts"))


def now(machine) -> str:
    """The guest's time, for `said`."""
    return machine.succeed("date +%s.%6N").strip()


def said(unit: str, since: str, words: str) -> str:
    """A command that succeeds if a service has logged such a line since."""
    return f"journalctl --since @{since} -o cat -u {unit} --grep {shlex.quote(words)}"


def back_after(machine, unit: str, deed: str, result: str, within: int) -> float:
    """Does something to a service that ends it in one of these ways, and waits until it is there again anew; after how long."""
    begin = time.monotonic()
    pid, count, since = main_pid(machine, unit), restarts(machine, unit), machine.succeed("date +%s").strip()
    machine.succeed(deed)
    machine.wait_until_succeeds(f"[ $(systemctl show --value -p NRestarts {unit}) -gt {count} ]", timeout=within)
    machine.wait_for_unit(f"{unit}.service", timeout=60)
    took = time.monotonic() - begin
    assert main_pid(machine, unit) not in (0, pid)
    ended = machine.succeed(f"journalctl --since @{since} -o cat -u {unit} --grep 'Failed with result'")
    assert any(f"'{way}'" in ended for way in result.split("|")), ended
    return took


def asked_meanwhile(machine, request: str, deed: str, cut: int = 0) -> None:
    """Makes requests one after the other while something is done: none is refused, and at most `cut` are cut off."""
    script = f"for n in $(seq {ASKED_MEANWHILE}); do {request} >/dev/null 2>>errors || echo $n >>failed; done; touch done"
    machine.succeed("cd /tmp; rm -f errors failed done; touch errors failed")
    machine.succeed(f"systemd-run --quiet --collect --working-directory=/tmp bash -c {shlex.quote(script)}")
    machine.succeed(deed)
    machine.wait_for_file("/tmp/done", timeout=120)
    failed, errors = machine.succeed("cat /tmp/failed").split(), machine.succeed("cat /tmp/errors")
    print(f"{len(failed)} of {ASKED_MEANWHILE} requests failed during: {deed}")
    assert len(failed) <= cut and "onnect" not in errors, errors


def nothing_was_denied(machine) -> None:
    """No service has complained about its sandbox since the machine's start."""
    denied = "journalctl -b --no-pager -o cat --grep 'EPERM|Operation not permitted|Permission denied' || true"
    complaints = machine.succeed(denied)
    assert complaints == "", complaints


def start_tor_network(network) -> None:
    """Runs a private Tor network on a machine, and a client's tor in it."""
    network.wait_for_unit("multi-user.target")
    network.succeed(
        f"systemd-run --quiet --unit=tor-network --property=Type=notify --property=TimeoutStartSec={PATIENCE} "
        f"$(command -v rustbalance-lab) --network-only {OWN_ADDRESS} --slowness {SLOWNESS} --torrc {MEMBERSHIP}",
        timeout=PATIENCE,
    )
    client = (
        f"DataDirectory /var/lib/tor-client\nSocksPort {SOCKS}\nLog notice stdout\n"
        f"LearnCircuitBuildTimeout 0\nCircuitBuildTimeout {BUILDING}\n"
    )
    network.succeed(
        "mkdir -m 700 /var/lib/tor-client",
        f"printf {shlex.quote(client)} | cat {MEMBERSHIP} - >/run/tor-client.conf",
        "systemd-run --quiet --unit=tor-client $(command -v tor) --defaults-torrc /dev/null -f /run/tor-client.conf",
    )


def tell_of_tor_network(node, network) -> None:
    """Has a node's tors be in the private Tor network from their next start on, as an operator would."""
    lines = shlex.quote(network.succeed(f"cat {MEMBERSHIP}"))
    node.succeed("mkdir -p /etc/rustbalance-tor/local.d", f"echo {lines} >/etc/rustbalance-tor/local.d/network.conf")


def onion_of(node) -> str:
    """The address that a node serves."""
    return json.loads(node.succeed("rustbalance inspect address /etc/rustbalance --json"))["address"]


def fetch(onion: str, circuit: str) -> str:
    """One request through Tor by a client of that name, run on `network`; the answer must be the target's."""
    curl = f"curl --silent --show-error --fail --max-time 180 --proxy socks5h://{circuit}:x@{SOCKS} http://{onion}/"
    return f"[ \"$({curl})\" = 'the target' ]"


def fetch_anew(network, onion: str) -> None:
    """Has the client's tor forget the descriptor, which may be from before a node came or went, and waits until it is served."""
    network.succeed("systemctl restart tor-client")
    network.wait_until_succeeds(fetch(onion, "anew"), timeout=PATIENCE)


def start_clients(network, onion: str, clients: int) -> None:
    """Starts clients on `network`, which fetch again and again, until `ended_requests` stops them; each has fetched once."""
    fetch_anew(network, onion)
    curl = f"curl --silent --fail --max-time {LONGEST_REQUEST} --proxy socks5h://$1-$((n / {PER_CIRCUIT})):x@{SOCKS} http://{onion}/"
    client = (
        "n=0; while [ ! -e /tmp/stop ]; do begin=$(date +%s%3N); "
        f'answer=$({curl}) && status=0 || status=$?; [ "$answer" = "the target" ] || [ $status != 0 ] || status=wrong; '
        'echo "$begin $(date +%s%3N) $status" >>/tmp/requests; n=$((n + 1)); [ $status = 0 ] || sleep 1; done'
    )
    every = f"for c in $(seq {clients}); do bash -c {shlex.quote(client)} - client$c & done; wait; touch /tmp/stopped"
    network.succeed("rm -f /tmp/stop /tmp/stopped; : >/tmp/requests")
    network.succeed(f"systemd-run --quiet --collect bash -c {shlex.quote(every)}")
    network.wait_until_succeeds(f"[ $(grep -c ' 0$' /tmp/requests) -ge {2 * clients} ]", timeout=PATIENCE)


def ended_requests(network) -> list[tuple[float, float, str]]:
    """Lets the clients finish: when each request began and ended, by the clock of `network`, and how curl ended."""
    network.succeed("touch /tmp/stop")
    network.wait_for_file("/tmp/stopped", timeout=240)
    lines = [line.split() for line in network.succeed("cat /tmp/requests").splitlines()]
    return [(int(begin) / 1000, int(end) / 1000, status) for begin, end, status in lines]


def longest_gap(requests: list[tuple[float, float, str]], since: float) -> float:
    """Tells how clients were served since a moment; for how long, at the longest, none of them got an answer."""
    later = [request for request in requests if request[1] > since]
    failed = [request for request in later if request[2] != "0"]
    ends = sorted([since, *(end for _, end, status in later if status == "0"), max(end for _, end, _ in later)])
    gap = max(after - before for before, after in zip(ends, ends[1:]))
    slowest = max([end - begin for begin, end, status in later if status == "0"], default=0)
    under_way = sum(begin < since for begin, _, _ in failed)
    measured("client fetches", len(later))
    measured("client fetches that failed", len(failed))
    measured("no client got an answer for", gap)
    print(
        f"of {len(later)} requests {len(failed)} failed ({under_way} of them were under way); the slowest other one took "
        f"{slowest:.1f} s"
    )
    return gap


def begin_cluster(node, network) -> str:
    """Has the first node of a cluster serve on the private Tor network; its onion address."""
    node.wait_for_unit("rustbalance.target")
    onion = onion_of(node)
    tell_of_tor_network(node, network)
    node.succeed("systemctl restart rustbalance-tor@a rustbalance-tor@b")
    network.wait_until_succeeds(fetch(onion, "first"), timeout=PATIENCE)
    return onion


def invite(inviting, guests: dict, network) -> None:
    """Makes empty machines nodes of the cluster, as the README says; they ask to be let in through the onion service."""
    inviting.succeed(
        "umask 077; head -c 24 /dev/urandom | base64 | tr -d '\\n' >/run/passphrase",
        f"rustbalance token create --uses {len(guests)} --passphrase-file /run/passphrase --output /run/invitation.txt",
    )
    invitation, passphrase = (inviting.succeed(f"cat /run/{file}") for file in ("invitation.txt", "passphrase"))
    for name, guest in guests.items():
        guest.wait_for_unit("multi-user.target")
        tell_of_tor_network(guest, network)
        guest.succeed(
            f"umask 077; echo {shlex.quote(invitation)} >/run/invitation.txt; echo {passphrase} >/run/passphrase",
            f"rustbalance join /run/invitation.txt --node-id {name} --passphrase-file /run/passphrase "
            f'--endpoint "{OWN_ADDRESS}:51820"',
            "rm /run/invitation.txt /run/passphrase",
            "systemd-tmpfiles --create rustbalance.conf; systemctl daemon-reload; systemctl start rustbalance.target",
        )


def cluster_of(node) -> dict:
    """What a node's coordinator knows of the cluster; nothing while it does not answer."""
    status, answer = node.execute("rustbalance status --json")
    coordinator = json.loads(answer)["coordinator"] if status == 0 else None
    return coordinator["cluster"] if coordinator else {}


def published_by(node) -> set[str]:
    """The nodes in the descriptor that every HSDir has accepted, if this node holds the lease."""
    cluster = cluster_of(node)
    if not cluster or cluster["holder"] != cluster["node"]:
        return set()
    return next(set(each["published"]) for each in cluster["nodes"] if each["node"] == cluster["node"])


def wait_for_descriptor(machines_by_name: dict, names: set[str]) -> str:
    """Waits until one of these nodes holds the lease and has published exactly these nodes; which one it is."""
    holders: list[str] = []

    def is_published(_last: bool) -> bool:
        holders[:] = [name for name, node in machines_by_name.items() if published_by(node) == names]
        return holders != []

    retry(is_published, PATIENCE)
    return holders[0]
