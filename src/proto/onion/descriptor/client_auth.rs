//! Client authorisation, both sides (`rend-spec-v3` 2.5.1.2, appendix G): one random cookie per descriptor, encrypted
//! to each client's x25519 key in an `auth-client` line. Without it there are only fillers, which look the same.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::BASE32_NOPAD;
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::proto::onion::blinding::Subcredential;
use crate::proto::onion::descriptor::encryption::apply_cipher;

/// The secret that opens the inner layer for authorised clients (`N_hs_desc_enc`). Erased when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Cookie([u8; 16]);

/// A client's public key (`KP_hsc_desc_enc`, x25519), from tor's `authorized_clients/*.auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub [u8; 32]);

/// A client's secret key (`KS_hsc_desc_enc`, x25519), from tor's `*.auth_private`. Erased when dropped, never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ClientSecretKey([u8; 32]);

/// One `auth-client` line: the cookie, encrypted to one client, who finds it by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthClient {
    /// Known to the client and the service only; says nothing about the key.
    pub id: [u8; 8],
    /// Initialisation vector of the cipher.
    pub iv: [u8; 16],
    /// The cookie under the client's key.
    pub encrypted_cookie: [u8; 16],
}

/// Why a text is not a client's key. Nothing was kept; no part of the text is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientKeyError {
    /// Neither tor's form nor bare base32.
    #[error("expected \"descriptor:x25519:\" and a key in base32")]
    Form,
    /// Not 32 bytes in base32.
    #[error("the x25519 key must be 52 characters of base32")]
    Base32,
    /// A key of small order: anybody could read what is encrypted to it.
    #[error("the x25519 key is of small order, and gives no secrecy")]
    Weak,
}

impl Cookie {
    /// A cookie of the given bytes, which must be random.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(…)")
    }
}

impl fmt::Debug for ClientSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecretKey(…)")
    }
}

impl FromStr for ClientKey {
    type Err = ClientKeyError;

    /// Reads `descriptor:x25519:<base32>` (the content of tor's `.auth` file) or the bare base32.
    fn from_str(text: &str) -> Result<Self, ClientKeyError> {
        let key = Self(*key_bytes(text.trim())?);
        if key.is_weak() { Err(ClientKeyError::Weak) } else { Ok(key) }
    }
}

impl ClientKey {
    /// Whether the key is of small order, so that its shared secret with anybody is known to all.
    pub fn is_weak(&self) -> bool {
        MontgomeryPoint(self.0).mul_clamped([0; 32]).0 == [0; 32]
    }
}

impl FromStr for ClientSecretKey {
    type Err = ClientKeyError;

    /// Reads `<address>:descriptor:x25519:<base32>` (the content of tor's `.auth_private` file), the same without
    /// the address, or the bare base32.
    fn from_str(text: &str) -> Result<Self, ClientKeyError> {
        let text = text.trim();
        let text = match text.split_once(':') {
            Some((address, rest)) if address != "descriptor" => rest,
            _ => text,
        };
        key_bytes(text).map(|key| Self(*key))
    }
}

impl ClientSecretKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public half, to be given to the service.
    pub fn public(&self) -> ClientKey {
        ClientKey(public_key(&self.0))
    }

    /// Finds this client's line and opens it; `None` if no line is for this client.
    pub fn find_cookie(
        &self,
        subcredential: &Subcredential,
        ephemeral_key: &[u8; 32],
        lines: &[AuthClient],
    ) -> Option<Cookie> {
        let keys = EntryKeys::derive(subcredential, &self.0, ephemeral_key);
        let line = lines.iter().find(|line| bool::from(line.id.ct_eq(&keys.id)))?;
        let mut cookie = Cookie(line.encrypted_cookie);
        apply_cipher(&keys.key, &line.iv, &mut cookie.0);
        Some(cookie)
    }
}

impl AuthClient {
    /// Encrypts the cookie to one client under the descriptor's ephemeral secret key.
    pub(super) fn seal(
        subcredential: &Subcredential,
        ephemeral_secret: &[u8; 32],
        client: &ClientKey,
        cookie: &Cookie,
        iv: [u8; 16],
    ) -> Self {
        let keys = EntryKeys::derive(subcredential, ephemeral_secret, &client.0);
        let mut encrypted_cookie = cookie.0;
        apply_cipher(&keys.key, &iv, &mut encrypted_cookie);
        Self { id: keys.id, iv, encrypted_cookie }
    }
}

/// The x25519 public key of a secret one.
pub(super) fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*secret).0
}

/// `KEYS = SHAKE256(sub-credential | x25519(secret, public), 40)`: client id, then AES-256 key.
#[derive(Zeroize, ZeroizeOnDrop)]
struct EntryKeys {
    id: [u8; 8],
    key: [u8; 32],
}

impl EntryKeys {
    fn derive(subcredential: &Subcredential, secret: &[u8; 32], public: &[u8; 32]) -> Self {
        let shared = Zeroizing::new(MontgomeryPoint(*public).mul_clamped(*secret).0);
        let mut hash = Shake256::default();
        hash.update(&subcredential.0);
        hash.update(&*shared);
        let mut stream = hash.finalize_xof();
        let mut keys = Self { id: [0; 8], key: [0; 32] };
        stream.read(&mut keys.id);
        stream.read(&mut keys.key);
        keys
    }
}

fn key_bytes(text: &str) -> Result<Zeroizing<[u8; 32]>, ClientKeyError> {
    let key = match text.split_once(':') {
        None => text,
        Some(_) => text.strip_prefix("descriptor:x25519:").ok_or(ClientKeyError::Form)?,
    };
    let letters = Zeroizing::new(key.to_ascii_uppercase());
    let bytes = BASE32_NOPAD.decode(letters.as_bytes()).map_err(|_| ClientKeyError::Base32)?;
    let bytes = Zeroizing::new(bytes);
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return Err(ClientKeyError::Base32);
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    // vectors.md 9: C tor's `test_build_authorized_client`.
    #[test]
    fn seals_tors_entry_and_opens_it() {
        let subcredential = Subcredential([0x2a; 32]);
        let ephemeral = hex("d023b674d993a5c8446bd2ca97e9961149b3c0e88c7dc14e8777744dd3468d6a");
        let client = ClientKey(hex("8c1298fa6050e372f8598f6deca32e27b0ad457741422c2629ebb132cf7fae37"));
        let cookie = Cookie::new(hex("07d087f1d8c68393721f6e70316d3b29"));
        let entry = AuthClient::seal(&subcredential, &ephemeral, &client, &cookie, [1; 16]);
        assert_eq!(entry.id, hex("ec19b7ff4d2dda13"));
        assert_eq!(entry.encrypted_cookie, hex("b21222be13f385f355bd07b2381f9f29"));
    }

    #[test]
    fn only_the_client_finds_its_line() {
        let subcredential = Subcredential([0x2a; 32]);
        let (mine, other) = (ClientSecretKey::new([5; 32]), ClientSecretKey::new([6; 32]));
        let ephemeral_secret = [7; 32];
        let cookie = Cookie::new([8; 16]);
        let filler = AuthClient { id: [0; 8], iv: [0; 16], encrypted_cookie: [0; 16] };
        let line = AuthClient::seal(&subcredential, &ephemeral_secret, &mine.public(), &cookie, [9; 16]);
        let ephemeral = public_key(&ephemeral_secret);
        let found = mine.find_cookie(&subcredential, &ephemeral, &[filler, line]).unwrap();
        assert_eq!(found.as_bytes(), cookie.as_bytes());
        assert!(other.find_cookie(&subcredential, &ephemeral, &[filler, line]).is_none());
        assert!(mine.find_cookie(&Subcredential([0; 32]), &ephemeral, &[line]).is_none());
    }

    #[test]
    fn reads_tors_key_files() {
        let secret = ClientSecretKey::new([5; 32]);
        let base32 = |bytes: &[u8]| BASE32_NOPAD.encode(bytes);
        let public = secret.public();
        for text in [
            format!("descriptor:x25519:{}\n", base32(&public.0)),
            base32(&public.0),
            base32(&public.0).to_ascii_lowercase(),
        ] {
            assert_eq!(text.parse(), Ok(public));
        }
        let address = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid";
        for text in [
            format!("{address}:descriptor:x25519:{}\n", base32(&[5; 32])),
            format!("descriptor:x25519:{}", base32(&[5; 32])),
            base32(&[5; 32]),
        ] {
            assert_eq!(text.parse::<ClientSecretKey>().unwrap().public(), public);
        }
        for (text, error) in [
            (format!("x25519:{}", base32(&public.0)), ClientKeyError::Form),
            (base32(&public.0[1..]), ClientKeyError::Base32),
            ("descriptor:x25519:".to_owned(), ClientKeyError::Base32),
            (base32(&[0; 32]), ClientKeyError::Weak),
        ] {
            assert_eq!(text.parse::<ClientKey>(), Err(error), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", Cookie::new([8; 16])), "Cookie(…)");
        assert_eq!(format!("{:?}", ClientSecretKey::new([8; 32])), "ClientSecretKey(…)");
    }
}
