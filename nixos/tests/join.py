# A cluster of one node on a private Tor network, and an empty machine that becomes its second by an invitation: it asks to be
# let in through the onion service, gets its place in the descriptor, and serves.

import time

NODES = {"alpha": alpha, "beta": beta}

start_all()

with subtest("a private Tor network, and a first node in it"):
    start_tor_network(network)
    onion = begin_cluster(alpha, network)

with subtest("an empty machine has nothing that serves"):
    beta.wait_for_unit("multi-user.target")
    beta.fail("test -e /etc/rustbalance/config.toml")
    beta.fail("systemctl is-active rustbalance-coordinator")

with subtest("invited, it is let in, and the descriptor has both"):
    invited = time.monotonic()
    invite(alpha, {"beta": beta}, network)
    assert wait_for_descriptor(NODES, set(NODES)) == "alpha"
    print(f"from the invitation to both nodes on every HSDir: {time.monotonic() - invited:.1f} s")
    for node in NODES.values():
        is_serving(node)
        known = {each["node"]: each["lifecycle"] for each in cluster_of(node)["nodes"]}
        assert known == {"alpha": "healthy", "beta": "healthy"}, known

with subtest("both have one address and different keys of their own"):
    assert onion_of(beta) == onion
    keys = {node.succeed("sha256sum </etc/rustbalance/wireguard.key") for node in NODES.values()}
    assert len(keys) == 2

with subtest("the new node serves alone while the first one is gone"):
    alpha.crash()
    wait_for_descriptor({"beta": beta}, {"beta"})
    fetch_anew(network, onion)
    network.succeed(fetch(onion, "again"))
