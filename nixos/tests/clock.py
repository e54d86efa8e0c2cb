# Two nodes on a private Tor network. The clock of one jumps, first a little, then far: both tell so, the far one is not believed
# by the other any more, clients are served all the time, and once the clock is right all is as before.

import time

NODES = {"alpha": alpha, "beta": beta}
CLIENTS = 2
#: More than nodes believe of each other is four seconds, and two are worth a word; so far does the clock jump.
DRIFT, JUMP = 3, 60
#: How long it may take until a node says so: its peers' clocks are asked all the time, but a moment of one that stood still
#: counts for nothing.
TOLD = 240


def is_told(node, failure: str) -> str:
    """A command that succeeds if that stands in the watchdog's alarms."""
    sample = f'^rustbalance_failure{{failure="{failure}",.*stage="alarm"'
    return f"curl --silent --unix-socket /run/rustbalance/web.sock http://node/metrics | grep -q {shlex.quote(sample)}"


def jump(node, seconds: int) -> None:
    """Has the clock jump by so many seconds."""
    # Not by whole seconds of the time that it is: that would lose a part of one, and three would be two.
    node.succeed(f"date --set='{seconds:+d} seconds'")


start_all()

with subtest("a private Tor network, and two nodes in it"):
    start_tor_network(network)
    onion = begin_cluster(alpha, network)
    invite(alpha, {"beta": beta}, network)
    wait_for_descriptor(NODES, set(NODES))
    for node in NODES.values():
        node.succeed("systemctl stop systemd-timesyncd || true")
    start_clients(network, onion, CLIENTS)
    began = float(now(network))

with subtest("a clock that is a little wrong is told, and the cluster stays whole"):
    jumped = time.monotonic()
    jump(beta, DRIFT)
    beta.wait_until_succeeds(is_told(beta, "drifting_clock"), timeout=TOLD)
    measured("a clock three seconds fast: told", time.monotonic() - jumped)
    wait_for_descriptor(NODES, set(NODES))
    righted = time.monotonic()
    jump(beta, -DRIFT)
    beta.wait_until_fails(is_told(beta, "drifting_clock"), timeout=TOLD)
    measured("the clock is right: told no more", time.monotonic() - righted)

with subtest("a clock that is far off is told by both, and its node is not believed"):
    jumped = time.monotonic()
    jump(beta, JUMP)
    beta.wait_until_succeeds(is_told(beta, "wrong_clock"), timeout=TOLD)
    measured("a clock a minute fast: told", time.monotonic() - jumped)
    print(beta.succeed("rustbalance status --why || true"))
    wait_for_descriptor({"alpha": alpha}, {"alpha"})

with subtest("the clock is right again, and the cluster whole"):
    righted = time.monotonic()
    jump(beta, -JUMP)
    wait_for_descriptor(NODES, set(NODES))
    measured("the clock is right: all nodes in one descriptor", time.monotonic() - righted)
    for node in NODES.values():
        node.wait_until_fails(is_told(node, "wrong_clock"), timeout=TOLD)

with subtest("clients were served all the time"):
    requests = ended_requests(network)
    longest_gap(requests, began)
    assert [request for request in requests if request[2] != "0"] == []
