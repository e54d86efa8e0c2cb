# Two nodes on a private Tor network, whose cable to each other is pulled while both reach Tor. Each goes on serving, and
# clients are served all the time. Joined again, one of them publishes for both.

import time

NODES = {"alpha": alpha, "beta": beta}
CLIENTS = 3

start_all()

with subtest("a private Tor network, and two nodes in it"):
    start_tor_network(network)
    onion = begin_cluster(alpha, network)
    invite(alpha, {"beta": beta}, network)
    wait_for_descriptor(NODES, set(NODES))

with subtest("cut off from each other, each holds the lease for itself"):
    start_clients(network, onion, CLIENTS)
    cut_at = float(now(network))
    cut = time.monotonic()
    # The first network is that of the tunnel; Tor is reached through the second.
    beta.block()
    for name, node in NODES.items():
        wait_for_descriptor({name: node}, {name})
    measured("cut off: each has published itself alone", time.monotonic() - cut)

with subtest("joined again, one publishes for both"):
    joined = time.monotonic()
    beta.unblock()
    holder = wait_for_descriptor(NODES, set(NODES))
    measured("joined again: one descriptor has both", time.monotonic() - joined)
    other = next(node for name, node in NODES.items() if name != holder)
    retry(lambda _last: cluster_of(other).get("holder") == holder, 60)

with subtest("clients were served all the time"):
    requests = ended_requests(network)
    longest_gap(requests, cut_at)
    assert [request for request in requests if request[2] != "0"] == []
    network.succeed(fetch(onion, "last"))
