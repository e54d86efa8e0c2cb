# Three nodes on a private Tor network. The one that holds the lease crashes while clients fetch: they go on being served, and
# another node publishes a descriptor without the dead one. When it comes back it is in the descriptor again.

import time

NODES = {"alpha": alpha, "beta": beta, "gamma": gamma}
CLIENTS = 3
#: Clients fetch for so long before the crash, in seconds.
BEFORE = 20

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
    network.sleep(BEFORE)
    crashed_at = float(now(network))
    crashed = time.monotonic()
    NODES[holder].crash()
    successor = wait_for_descriptor(survivors, set(survivors))
    print(f"{holder} crashed; {successor} had a clean descriptor on every HSDir after {time.monotonic() - crashed:.1f} s")

with subtest("clients were served all the time"):
    network.sleep(BEFORE)
    failed = tell_of_requests(ended_requests(network), crashed_at)
    # What was under way through the dead node is lost with it. Nobody else notices.
    assert [request for request in failed if request[0] > crashed_at] == [], failed
    assert len(failed) <= CLIENTS, failed
    assert all(end > crashed_at for _, end, _ in failed), failed

with subtest("the crashed node comes back, and is in the descriptor again"):
    back = time.monotonic()
    NODES[holder].start()
    wait_for_descriptor(NODES, set(NODES))
    print(f"{holder} was in the descriptor again {time.monotonic() - back:.1f} s after it was switched on")
    network.succeed(fetch(onion, "last"))
