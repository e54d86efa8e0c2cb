//! A node as requests and answers tell of it, and how keys and tags are written in them.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::proto::node::NodeId;

/// How a node is reached. The names in JSON are the seed's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    #[serde(rename = "node_id")]
    pub node: NodeId,
    /// Its WireGuard public key.
    #[serde(rename = "wg_pubkey", with = "base64")]
    pub wireguard_key: [u8; 32],
    /// Where its WireGuard listens, if it says so.
    #[serde(rename = "wg_endpoint")]
    pub endpoint: Option<SocketAddr>,
    /// Its address inside the mesh.
    #[serde(rename = "tunnel_ip")]
    pub tunnel_address: IpAddr,
}

/// 32 bytes as base64, as WireGuard writes its keys.
pub(super) mod base64 {
    use super::{BASE64, Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| de::Error::custom("not base64"))?;
        bytes.try_into().map_err(|_| de::Error::custom("not 32 bytes"))
    }
}

/// Byte strings as base64.
pub(super) mod base64_list {
    use serde::ser::SerializeSeq;

    use super::{BASE64, Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(list: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        let mut sequence = to.serialize_seq(Some(list.len()))?;
        for bytes in list {
            sequence.serialize_element(&BASE64.encode(bytes))?;
        }
        sequence.end()
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let decode =
            |text: String| BASE64.decode(text.as_bytes()).map_err(|_| de::Error::custom("not base64"));
        texts.into_iter().map(decode).collect()
    }
}
