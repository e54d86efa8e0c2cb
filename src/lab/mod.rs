//! `rustbalance-lab`: a private Tor network, nodes, a target and clients in namespaces, and scenes that hurt them.
