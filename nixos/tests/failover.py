# Three nodes on a private Tor network. The one that holds the lease crashes while clients fetch: they go on being served, and
# another node publishes a descriptor without the dead one. When it comes back it is in the descriptor again.

import time

NODES = {"alpha": alpha, "beta": beta, "gamma": gamma}
CLIENTS = 3
#: Clients fetch for so long after the new descriptor, in seconds.
AFTER = 60
#: A client that has the old descriptor may try the dead node first: nobody tells it that a machine without power is gone. For
#: so long, in seconds, all of them may do so at once.
LONGEST_GAP = 60
#: Requests of a client that has the new one, each on a circuit of its own.
FRESH = 10

start_all()

with subtest("a private Tor network, and three nodes in it"):
    start_tor_network(network)
    onion = begin_cluster(alpha, network)
    invite(alpha, {"beta": beta, "gamma": gamma}, network)
    holder = wait_for_descriptor(NODES, set(NODES))
    print(alpha.succeed("rustbalance status"))

with subtest("the lease holder crashes: another node publishes without it"):
    survivors = {name: node for name, node in NODES.items() if name != holder}
    start_clients(network, onion, CLIENTS)
    crashed_at = float(now(network))
    crashed = time.monotonic()
    NODES[holder].crash()
    successor = wait_for_descriptor(survivors, set(survivors))
    measured("crashed: dead points gone everywhere", time.monotonic() - crashed)
    print(f"{holder} crashed; {successor} has published")

with subtest("clients that had the old descriptor went on being served"):
    network.sleep(AFTER)
    gap = longest_gap(ended_requests(network), crashed_at)
    assert gap < LONGEST_GAP, gap

with subtest("clients that come now meet no dead node"):
    fetch_anew(network, onion)
    since = time.monotonic()
    network.succeed(*(fetch(onion, f"fresh-{n}") for n in range(FRESH)))
    measured(f"{FRESH} requests, each on a new circuit", time.monotonic() - since)

with subtest("the crashed node comes back, and is in the descriptor again"):
    back = time.monotonic()
    NODES[holder].start()
    wait_for_descriptor(NODES, set(NODES))
    measured("switched on: its points back everywhere", time.monotonic() - back)
    network.succeed(fetch(onion, "last"))
