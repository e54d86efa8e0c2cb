//! What a node keeps over a restart.

use serde::{Deserialize, Serialize};

use super::note::Note;
use super::roster::Peer;

/// What a node keeps over a restart. It holds no secret: tokens in it are sealed. Without it, a node that has peers in
/// its configuration comes back all the same, and learns the rest from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Every other node and how it was reached, by name.
    pub peers: Vec<Peer>,
    /// What the whole cluster keeps.
    pub notes: Vec<Note>,
}

#[cfg(test)]
mod tests {
    use super::super::core::tests::{NOW_MS, peer};
    use super::super::note::{Admission, Departure, Drain, Rotation};
    use super::super::token::TokenName;
    use super::*;

    #[test]
    fn it_survives_being_written_down() {
        let (Peer { node, wireguard_key, tunnel_address, .. }, at_ms) = (peer("b"), NOW_MS);
        let endpoint = Some("[2001:db8::1]:51820".parse().unwrap());
        let token = TokenName { seq: 1, tag: [1, 2, 3, 4] };
        let memory = Memory {
            peers: vec![Peer { endpoint, ..peer("c") }, peer("d")],
            notes: vec![
                Note::Admission(Admission {
                    ticket: [7; 16],
                    uses: 2,
                    node: node.clone(),
                    wireguard_key,
                    endpoint,
                    tunnel_address,
                    at_ms,
                    expires_ms: u64::MAX,
                }),
                Note::Departure(Departure { node: node.clone(), wireguard_key, at_ms }),
                Note::Rotation(Rotation {
                    token,
                    previous: TokenName::default(),
                    at_ms,
                    sealed: vec![9; 60],
                }),
                Note::Drain(Drain {
                    node: node.clone(),
                    draining: true,
                    at_ms,
                    by: peer("a").node,
                    deadline_secs: 60,
                    after: Some(node),
                }),
            ],
        };
        let written = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&written).unwrap(), memory);
        assert!(serde_json::from_str::<Memory>(&written[..written.len() - 1]).is_err());
    }
}
