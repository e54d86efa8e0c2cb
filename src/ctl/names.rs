//! Several nodes in one sentence.

use crate::proto::node::NodeId;

/// Their names in a row.
pub fn names<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> String {
    nodes.map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}
