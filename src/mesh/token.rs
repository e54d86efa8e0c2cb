//! The cluster token, and every key that is derived from it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::proto::join::keys::JoinKeys;

/// Fewest bytes of a cluster token: 24 characters of base64 carry 144 bits, beyond any search. A shorter
/// one is a password somebody chose, and a recorded datagram would allow guessing it offline.
pub const TOKEN_MIN_LEN: usize = 24;
/// Most bytes of a cluster token: far beyond use, and a wrong file (a log, an image) is noticed.
pub const TOKEN_MAX_LEN: usize = 1024;

/// HKDF salt: says what the token's first derivation is for, and in which version.
const EXTRACT_SALT: &[u8; 28] = b"rustbalance cluster token v1";

/// The secret that all nodes of one cluster share.
///
/// Only the pseudo-random key extracted from it is kept (RFC 5869, HKDF-Extract with HMAC-SHA-256); it is
/// wiped on drop and never printed. Everything derived names its purpose, so no two uses share a key.
pub struct ClusterToken(Zeroizing<[u8; 32]>);

/// Why bytes are not a cluster token. Nothing was kept of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Fewer than [`TOKEN_MIN_LEN`] bytes, white space at the end not counted.
    #[error(
        "the cluster token has {0} bytes, at least {TOKEN_MIN_LEN} are needed; make one with: openssl rand -base64 32"
    )]
    TooShort(usize),
    /// More than [`TOKEN_MAX_LEN`] bytes.
    #[error("the cluster token has {0} bytes, at most {TOKEN_MAX_LEN} are allowed; is this the right file?")]
    TooLong(usize),
}

impl ClusterToken {
    /// Takes the contents of a token file. White space at the end is not part of the token, because editors
    /// and `echo` add it.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        let token = bytes.trim_ascii_end();
        match token.len() {
            len if len < TOKEN_MIN_LEN => Err(TokenError::TooShort(len)),
            len if len > TOKEN_MAX_LEN => Err(TokenError::TooLong(len)),
            _ => Ok(Self(hmac_sha256(EXTRACT_SALT, &[token]))),
        }
    }

    /// What this token is worth in joining.
    pub fn join_keys(&self) -> JoinKeys {
        JoinKeys::new(self.derive("join ticket", &[]), self.derive("join proof", &[]))
    }

    /// A key for one purpose: HKDF-Expand (RFC 5869) of one block, its info being `label`, a zero byte, and
    /// each of `parts` behind its length, so that no two different inputs run together.
    pub(super) fn derive(&self, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let mut info: Vec<&[u8]> = vec![label.as_bytes(), &[0]];
        for (length, part) in lengths.iter().zip(parts) {
            info.push(length);
            info.push(part);
        }
        expand_block(&self.0, &info)
    }
}

impl fmt::Debug for ClusterToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClusterToken(..)")
    }
}

/// The first block of HKDF-Expand.
fn expand_block(prk: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut message = info.to_vec();
    message.push(&[1]);
    hmac_sha256(prk, &message)
}

/// HMAC-SHA-256 under a key no longer than the hash's block, which HMAC pads with zeros.
fn hmac_sha256<const N: usize>(key: &[u8; N], message: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    const { assert!(N <= 64, "a longer key would have to be hashed first") };
    let mut block = Zeroizing::new([0; 64]);
    block[..N].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in message {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn derivation_is_the_hkdf_of_rfc_5869() {
        // Appendix A, test case 1: the first 32 of the 42 bytes are the first block.
        let ikm = [0x0b; 22];
        let salt: [u8; 13] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        let info = HEXLOWER.decode(b"f0f1f2f3f4f5f6f7f8f9").unwrap();
        let prk = hmac_sha256(&salt, &[&ikm]);
        assert_eq!(
            HEXLOWER.encode(&*prk),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
        );
        assert_eq!(
            HEXLOWER.encode(&*expand_block(&prk, &[&info])),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }

    #[test]
    fn tokens_have_bounds_and_no_trailing_newline() {
        let text = "0123456789abcdefghijklmn";
        let plain = ClusterToken::from_file_bytes(text.as_bytes()).unwrap();
        let from_editor = ClusterToken::from_file_bytes(format!("{text}\r\n").as_bytes()).unwrap();
        assert_eq!(*plain.0, *from_editor.0);
        assert_eq!(ClusterToken::from_file_bytes(b"short \n").unwrap_err(), TokenError::TooShort(5));
        assert_eq!(ClusterToken::from_file_bytes(&[b'x'; 2000]).unwrap_err(), TokenError::TooLong(2000));
        assert_eq!(format!("{plain:?}"), "ClusterToken(..)");
    }

    #[test]
    fn every_purpose_and_part_gives_another_key() {
        let token = ClusterToken::from_file_bytes(&[b'x'; 32]).unwrap();
        let keys = [
            token.derive("a", &[]),
            token.derive("a", &[b""]),
            token.derive("a", &[b"bc"]),
            token.derive("a", &[b"b", b"c"]),
            token.derive("ab", &[b"c"]),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|other| **other != **one));
        }
    }
}
