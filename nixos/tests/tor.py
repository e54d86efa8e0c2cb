# A node on a private Tor network: clients on another machine fetch from its onion address, through Tor, while each of its
# daemons is killed again and again. Who hands over connections, keeps keys or repairs may die without a failed request;
# of the proxy's end only those notice whose connection it was just carrying.

import shlex
from collections import Counter

#: Requests that run while a daemon is killed, and clients that make them, each one after the other.
REQUESTS = 200
CLIENTS = 8
#: The daemon is killed each time that so many requests have ended.
KILLS = [20, 80, 140]
#: How curl ends when a connection that was made is cut off: nothing received, less received than announced, reset.
CUT_OFF = {"52", "18", "56"}


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
    start_tor_network(network)

with subtest("the node is told of it, as an operator would, and boots to serving"):
    node.wait_for_unit("rustbalance.target")
    onion = onion_of(node)
    tell_of_tor_network(node, network)
    node.reboot()
    network.wait_until_succeeds(fetch(onion, "first"), timeout=PATIENCE)
    print(f"the first page came {node.succeed('cut -d . -f 1 /proc/uptime').strip()} s after the node's boot")
    for unit in [*DAEMONS, *TORS]:
        node.require_unit_state(f"{unit}.service")

for daemon in DAEMONS:
    with subtest(f"{daemon} is killed {len(KILLS)} times while {REQUESTS} requests run through Tor"):
        others = {unit: restarts(node, unit) for unit in [*DAEMONS, *TORS] if unit != daemon}
        before = restarts(node, daemon)
        wrong = requests_while(daemon)
        print(f"{daemon}: {len(wrong)} of {REQUESTS} requests failed: {dict(Counter(wrong))}")
        node.wait_for_unit(f"{daemon}.service")
        assert restarts(node, daemon) == before + len(KILLS), restarts(node, daemon)
        assert others == {unit: restarts(node, unit) for unit in others}
        if daemon == "rustbalance-proxy":
            # Each client has one connection at a time that can be cut; none is refused, nor waits in vain.
            assert len(wrong) <= CLIENTS * len(KILLS)
            assert {line.split()[0] for line in wrong} <= CUT_OFF, wrong
        else:
            assert wrong == []

with subtest("all is well afterwards"):
    network.succeed(fetch(onion, "last"))
    node.wait_until_succeeds("rustbalance status", timeout=300)
    print(node.succeed("rustbalance status"))
