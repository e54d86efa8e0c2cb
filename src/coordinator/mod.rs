//! Keeps the cluster: the mesh, membership, node records, the lease.
