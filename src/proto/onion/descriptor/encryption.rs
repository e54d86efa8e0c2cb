//! How a layer is wrapped: `SALT | ENCRYPTED | MAC` (`rend-spec-v3` 2.5.3).
//!
//! Keys come from SHAKE-256, the cipher is AES-256 in counter mode, the MAC is SHA3-256 over lengths, key, salt and
//! ciphertext. The MAC is checked before anything is decrypted.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::proto::onion::blinding::{HsBlindId, Subcredential};
use crate::proto::onion::counter::RevisionCounter;

/// Bytes of salt in front of a layer.
pub const SALT_LEN: usize = 16;
/// Bytes of MAC behind a layer.
const MAC_LEN: usize = 32;
/// The middle document is padded with NULs to a multiple of this many bytes, so that the size of a descriptor
/// says little about the number of its introduction points.
const PADDING: usize = 10_000;

/// Which layer is sealed or opened; each has a string of its own in the key derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The layer that the outer document carries (`superencrypted`).
    Middle,
    /// The layer that the middle document carries (`encrypted`).
    Inner,
}

/// What both sides must know to seal or open a layer.
#[derive(Clone, Copy)]
pub struct LayerSecrets<'a> {
    /// The service's key of the period.
    pub blind_id: &'a HsBlindId,
    /// Proof of knowing the address.
    pub subcredential: &'a Subcredential,
    /// The counter written in the outer document.
    pub counter: RevisionCounter,
    /// The secret of authorised clients: inner layer only, and only under client authorisation.
    pub cookie: Option<&'a [u8; 16]>,
}

/// Why a layer could not be opened. Nothing was decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecryptError {
    /// There is no room for salt, one byte and MAC: the document is cut short.
    #[error("encrypted part of {0} bytes is too short")]
    TooShort(usize),
    /// The MAC does not fit: the keys are wrong (other address, period or client) or bytes were changed.
    #[error("message authentication code does not fit")]
    BadMac,
    /// The plaintext is not text, so whoever sealed it did not seal a document.
    #[error("decrypted part is empty or not text")]
    NotText,
}

/// Opens a layer. `Err` tells nothing about the plaintext.
pub fn open(layer: Layer, secrets: LayerSecrets<'_>, blob: &[u8]) -> Result<String, DecryptError> {
    let too_short = DecryptError::TooShort(blob.len());
    let (salt, rest) = blob.split_first_chunk::<SALT_LEN>().ok_or(too_short)?;
    let (ciphertext, mac) = rest.split_last_chunk::<MAC_LEN>().ok_or(too_short)?;
    if ciphertext.is_empty() {
        return Err(too_short);
    }
    let keys = LayerKeys::derive(layer, secrets, salt);
    if !bool::from(keys.mac(salt, ciphertext).ct_eq(mac)) {
        return Err(DecryptError::BadMac);
    }
    let mut plaintext = ciphertext.to_vec();
    keys.apply(&mut plaintext);
    let used = plaintext.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    plaintext.truncate(used);
    String::from_utf8(plaintext).ok().filter(|text| !text.is_empty()).ok_or(DecryptError::NotText)
}

/// Seals a layer; the middle layer's plaintext is padded first. `salt` must be fresh for each descriptor.
pub fn seal(layer: Layer, secrets: LayerSecrets<'_>, salt: &[u8; SALT_LEN], plaintext: &str) -> Vec<u8> {
    let keys = LayerKeys::derive(layer, secrets, salt);
    let len = match layer {
        Layer::Middle => plaintext.len().next_multiple_of(PADDING),
        Layer::Inner => plaintext.len(),
    };
    let mut blob = Vec::with_capacity(SALT_LEN + len + MAC_LEN);
    blob.extend_from_slice(salt);
    blob.extend_from_slice(plaintext.as_bytes());
    blob.resize(SALT_LEN + len, 0);
    if let Some(body) = blob.get_mut(SALT_LEN..) {
        keys.apply(body);
        let mac = keys.mac(salt, body);
        blob.extend_from_slice(&mac);
    }
    blob
}

/// `SECRET_KEY | SECRET_IV | MAC_KEY`, 80 bytes from the key derivation.
#[derive(Zeroize, ZeroizeOnDrop)]
struct LayerKeys {
    key: [u8; 32],
    iv: [u8; 16],
    mac_key: [u8; 32],
}

impl LayerKeys {
    /// `SHAKE256(blinded key [| cookie] | sub-credential | INT_8(counter) | salt | string of the layer)`.
    fn derive(layer: Layer, secrets: LayerSecrets<'_>, salt: &[u8; SALT_LEN]) -> Self {
        let mut hash = Shake256::default();
        hash.update(&secrets.blind_id.0);
        if let Some(cookie) = secrets.cookie {
            hash.update(cookie);
        }
        hash.update(&secrets.subcredential.0);
        hash.update(&secrets.counter.0.to_be_bytes());
        hash.update(salt);
        hash.update(match layer {
            Layer::Middle => b"hsdir-superencrypted-data",
            Layer::Inner => b"hsdir-encrypted-data",
        });
        let mut stream = hash.finalize_xof();
        let mut keys = Self { key: [0; 32], iv: [0; 16], mac_key: [0; 32] };
        stream.read(&mut keys.key);
        stream.read(&mut keys.iv);
        stream.read(&mut keys.mac_key);
        keys
    }

    /// Encrypts or decrypts in place; counter mode is its own inverse.
    fn apply(&self, data: &mut [u8]) {
        apply_cipher(&self.key, &self.iv, data);
    }

    /// `SHA3-256(INT_8(32) | MAC_KEY | INT_8(16) | SALT | ENCRYPTED)`.
    fn mac(&self, salt: &[u8; SALT_LEN], ciphertext: &[u8]) -> [u8; MAC_LEN] {
        Sha3_256::new()
            .chain_update(32u64.to_be_bytes())
            .chain_update(self.mac_key)
            .chain_update(16u64.to_be_bytes())
            .chain_update(salt)
            .chain_update(ciphertext)
            .finalize()
            .into()
    }
}

/// AES-256 in counter mode, in place.
pub(super) fn apply_cipher(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8]) {
    Ctr128BE::<Aes256>::new(key.into(), iv.into()).apply_keystream(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    fn secrets<'a>(blind_id: &'a HsBlindId, subcredential: &'a Subcredential) -> LayerSecrets<'a> {
        LayerSecrets { blind_id, subcredential, counter: RevisionCounter(19_655_750), cookie: None }
    }

    // vectors.md 10a: the keys of a descriptor that C tor wrote.
    #[test]
    fn derives_tors_keys() {
        let blind_id = HsBlindId(hex("43cc0d62fc6252f578705ca645a46109e265290343b1137e90189744b20b3f2d"));
        let subcredential =
            Subcredential(hex("78210a0d2c72bb7a0caf606bcd938b9a3696894fdddbc3b87d424753a7e3df37"));
        let secrets = secrets(&blind_id, &subcredential);
        let middle = LayerKeys::derive(Layer::Middle, secrets, &hex("b2bbeb2fce234ed2e528c15c0e2dd902"));
        assert_eq!(middle.key, hex("a66c6db8993c2237aeec7846dd456856924135b437f8192717720f6121a0907e"));
        assert_eq!(middle.iv, hex("a00ed2e98113b6aeadb2ca3eed3fa866"));
        assert_eq!(middle.mac_key, hex("b0466c9f3880b5cbe3999dcf6f5570f0d3f5f37734c5cccf2fb06b4aa1210f9a"));
        let inner = LayerKeys::derive(Layer::Inner, secrets, &hex("e484c6e600bfed26d185f364613e2e1f"));
        assert_eq!(inner.key, hex("ac09a11a3d498dbaffe7491ace5e57914434bb475a5f05860534f90224db931b"));
        assert_eq!(inner.iv, hex("6d63368170ada23bef24cbf8952d0549"));
        assert_eq!(inner.mac_key, hex("b44ea0b141005d346ab8a141aba63f20f6201b393a106f204d10e149e98d210a"));
    }

    // vectors.md 13: the padding of C tor's `test_descriptor_padding`, middle layer only.
    #[test]
    fn pads_the_middle_layer_to_multiples_of_10000() {
        let (blind_id, subcredential) = (HsBlindId([1; 32]), Subcredential([2; 32]));
        let secrets = secrets(&blind_id, &subcredential);
        for (len, padded) in [(9_999, 10_000), (10_000, 10_000), (10_001, 20_000), (1, 10_000)] {
            let text = "x".repeat(len);
            let blob = seal(Layer::Middle, secrets, &[3; 16], &text);
            assert_eq!(blob.len(), 16 + padded + 32);
            assert_eq!(open(Layer::Middle, secrets, &blob), Ok(text.clone()));
            assert_eq!(seal(Layer::Inner, secrets, &[3; 16], &text).len(), 16 + len + 32);
        }
    }

    #[test]
    fn refuses_other_keys_and_changed_bytes() {
        let (blind_id, subcredential) = (HsBlindId([1; 32]), Subcredential([2; 32]));
        let secrets = secrets(&blind_id, &subcredential);
        let blob = seal(Layer::Inner, secrets, &[3; 16], "text");
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            assert_eq!(open(Layer::Inner, secrets, &changed), Err(DecryptError::BadMac), "byte {at}");
        }
        for wrong in [
            LayerSecrets { counter: RevisionCounter(1), ..secrets },
            LayerSecrets { cookie: Some(&[4; 16]), ..secrets },
            LayerSecrets { subcredential: &Subcredential([0; 32]), ..secrets },
            LayerSecrets { blind_id: &HsBlindId([0; 32]), ..secrets },
        ] {
            assert_eq!(open(Layer::Inner, wrong, &blob), Err(DecryptError::BadMac));
        }
        assert_eq!(open(Layer::Middle, secrets, &blob), Err(DecryptError::BadMac));
        assert_eq!(open(Layer::Inner, secrets, &blob[..48]), Err(DecryptError::TooShort(48)));
        assert_eq!(open(Layer::Inner, secrets, &[]), Err(DecryptError::TooShort(0)));
    }

    #[test]
    fn refuses_plaintext_that_is_no_text() {
        let (blind_id, subcredential) = (HsBlindId([1; 32]), Subcredential([2; 32]));
        let secrets = secrets(&blind_id, &subcredential);
        for text in ["\0\0", "\0"] {
            let blob = seal(Layer::Inner, secrets, &[3; 16], text);
            assert_eq!(open(Layer::Inner, secrets, &blob), Err(DecryptError::NotText));
        }
    }
}
