//! Sealing and opening: what a sealed secret looks like, in bytes.
//!
//! ```text
//! offset 0   version       1 byte, 1
//!        1   content       1, what is inside
//!        2   memory        4, Argon2id's memory in KiB
//!        6   passes        4
//!       10   lanes         1
//!       11   salt         16
//!       27   nonce        12
//!       39   ciphertext   as long as the secret
//!            tag          16
//! ```
//!
//! Numbers are big-endian. The key is Argon2id of the passphrase and the salt, the secret is encrypted with AES-256-GCM,
//! and all bytes before the ciphertext are its associated data: whoever changes one of them, if only to make guessing
//! cheaper or to pass a sealed value off as a sealed file, makes it unreadable. Salt and nonce are drawn anew each time,
//! so no key is ever used twice.

use std::fmt;

use aes_gcm::aead::KeyInit;
use aes_gcm::{AeadInOut, Aes256Gcm, Key, Nonce};
use rand::CryptoRng;
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use super::cost::{Cost, CostError, SALT_LEN};
use super::passphrase::Passphrase;

/// Version of the form, its first byte.
pub(super) const VERSION: u8 = 1;
/// No secret of ours is larger; beyond this it is the wrong file.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// Bytes of AES-GCM's nonce.
const NONCE_LEN: usize = 12;
/// Bytes before the ciphertext.
const HEADER_LEN: usize = 11 + SALT_LEN + NONCE_LEN;
/// Bytes of AES-GCM's tag.
const TAG_LEN: usize = 16;
/// Most bytes of a sealed secret.
pub(super) const MAX_SEALED_BYTES: usize = HEADER_LEN + MAX_SECRET_BYTES + TAG_LEN;

/// What is inside, so that one is not taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A file as it was: a key, a token.
    File,
    /// A value inside another file.
    Field,
    /// An invitation into the cluster.
    Invitation,
}

/// A sealed secret: to be opened with its passphrase, or written down in one of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    content: Content,
    /// The header as it came, which is the associated data.
    header: [u8; HEADER_LEN],
    cost: Cost,
    ciphertext: Vec<u8>,
}

/// Why a secret was not sealed. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than [`MAX_SECRET_BYTES`].
    #[error("it has {0} bytes, at most {MAX_SECRET_BYTES} can be sealed; is it the right file?")]
    TooLong(usize),
    /// No key could be derived.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// AES-GCM refused, which it only does for lengths far beyond [`MAX_SECRET_BYTES`].
    #[error("AES-GCM refused to seal; this is a mistake in rustbalance")]
    Cipher,
}

/// Why something sealed was not opened. Nothing of it was kept or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no sealed secret.
    #[error("nothing sealed by rustbalance is in it; is it the right file?")]
    NotSealed,
    /// There is one, but its end or something in between is missing, or it was written wrongly.
    #[error("it is cut off or damaged; copy it again, whole")]
    Damaged,
    /// Longer than anything we seal.
    #[error("it is longer than anything rustbalance seals; is it the right file?")]
    TooLong,
    /// Made by a later version.
    #[error(
        "it says that its form is version {0}, and this rustbalance knows version {VERSION}: it was sealed by a newer one, or it \
         is damaged"
    )]
    Version(u8),
    /// Something else is inside.
    #[error("it holds {found}, not {expected}")]
    Content {
        /// What is inside.
        found: Content,
        /// What was wanted.
        expected: Content,
    },
    /// Trying the passphrase costs too little or too much.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// The key does not fit.
    #[error("the passphrase is wrong, or what was sealed has been altered")]
    Refused,
}

impl Content {
    fn code(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Field => 2,
            Self::Invitation => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::File, Self::Field, Self::Invitation].into_iter().find(|content| content.code() == code)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a sealed file",
            Self::Field => "a sealed value",
            Self::Invitation => "an invitation",
        })
    }
}

impl Sealed {
    /// Seals a secret. The generator must be seeded by the operating system outside of tests.
    pub fn seal(
        content: Content,
        secret: &[u8],
        passphrase: &Passphrase,
        cost: Cost,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SealError> {
        if secret.len() > MAX_SECRET_BYTES {
            return Err(SealError::TooLong(secret.len()));
        }
        let mut header = [0; HEADER_LEN];
        (header[0], header[1]) = (VERSION, content.code());
        header[2..6].copy_from_slice(&cost.memory_kib.to_be_bytes());
        header[6..10].copy_from_slice(&cost.passes.to_be_bytes());
        header[10] = cost.lanes;
        rng.fill_bytes(&mut header[11..]);
        let mut sealed = Self { content, header, cost, ciphertext: Vec::new() };
        let cipher = sealed.cipher(passphrase)?;
        // Room for the tag from the start: a buffer that moved would leave the secret behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(secret.len() + TAG_LEN));
        buffer.extend_from_slice(secret);
        cipher
            .encrypt_in_place(&sealed.nonce(), &sealed.header, &mut *buffer)
            .map_err(|_| SealError::Cipher)?;
        sealed.ciphertext = std::mem::take(&mut *buffer);
        Ok(sealed)
    }

    /// Opens it. Takes a fraction of a second by design, whatever the passphrase: not for an async task.
    pub fn open(&self, passphrase: &Passphrase) -> Result<SecretSlice<u8>, OpenError> {
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        self.cipher(passphrase)?
            .decrypt_in_place(&self.nonce(), &self.header, &mut *buffer)
            .map_err(|_| OpenError::Refused)?;
        Ok(SecretSlice::from(buffer.to_vec()))
    }

    /// What is inside, as it says itself; only opening proves it.
    pub fn content(&self) -> Content {
        self.content
    }

    /// What trying a passphrase costs.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Makes sure that this is inside.
    pub fn expect(self, expected: Content) -> Result<Self, OpenError> {
        if self.content == expected {
            Ok(self)
        } else {
            Err(OpenError::Content { found: self.content, expected })
        }
    }

    /// Reads the bytes described above; checks all that can be checked without the passphrase.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(OpenError::Version(bytes[0]));
        }
        let (header, ciphertext) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(OpenError::Damaged)?;
        match ciphertext.len() {
            len if len < TAG_LEN => return Err(OpenError::Damaged),
            len if len > MAX_SECRET_BYTES + TAG_LEN => return Err(OpenError::TooLong),
            _ => {}
        }
        let [_, content, m0, m1, m2, m3, p0, p1, p2, p3, lanes, ..] = *header;
        let cost = Cost {
            memory_kib: u32::from_be_bytes([m0, m1, m2, m3]),
            passes: u32::from_be_bytes([p0, p1, p2, p3]),
            lanes,
        };
        Ok(Self {
            content: Content::from_code(content).ok_or(OpenError::Damaged)?,
            header: *header,
            cost: cost.check()?,
            ciphertext: ciphertext.to_vec(),
        })
    }

    /// The bytes described above.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&self.header[..], &self.ciphertext].concat()
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<Aes256Gcm, CostError> {
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&self.header[11..11 + SALT_LEN]);
        let key = self.cost.derive(passphrase, &salt)?;
        let key: &Key<Aes256Gcm> = (&*key).into();
        Ok(Aes256Gcm::new(key))
    }

    fn nonce(&self) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&self.header[11 + SALT_LEN..]);
        nonce.into()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use secrecy::ExposeSecret;

    use super::*;

    fn passphrase() -> Passphrase {
        Passphrase::new("correct horse battery").unwrap()
    }

    fn sealed(secret: &[u8]) -> Sealed {
        let mut rng = StdRng::seed_from_u64(1);
        Sealed::seal(Content::File, secret, &passphrase(), Cost::TEST, &mut rng).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_with_its_passphrase_only() {
        for secret in [Vec::new(), b"hush".to_vec(), vec![7; MAX_SECRET_BYTES]] {
            let sealed = Sealed::from_bytes(&sealed(&secret).to_bytes()).unwrap();
            assert_eq!(sealed.open(&passphrase()).unwrap().expose_secret(), secret);
            let other = Passphrase::new("correct horse batterz").unwrap();
            assert_eq!(sealed.open(&other).unwrap_err(), OpenError::Refused);
        }
        let mut rng = StdRng::seed_from_u64(1);
        let long = vec![7; MAX_SECRET_BYTES + 1];
        let refused = Sealed::seal(Content::File, &long, &passphrase(), Cost::TEST, &mut rng);
        assert_eq!(refused, Err(SealError::TooLong(long.len())));
    }

    #[test]
    fn the_default_is_opened_and_the_test_parameters_would_not_be() {
        let mut rng = StdRng::seed_from_u64(1);
        let sealed = Sealed::seal(Content::File, b"hush", &passphrase(), Cost::DEFAULT, &mut rng).unwrap();
        assert_eq!(sealed.open(&passphrase()).unwrap().expose_secret(), b"hush");
        let cheap = Cost { memory_kib: 16, ..Cost::TEST };
        let refused = Sealed::seal(Content::File, b"hush", &passphrase(), cheap, &mut rng);
        assert_eq!(refused, Err(SealError::Cost(CostError::OutOfBounds { cost: cheap })));
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut seal = || Sealed::seal(Content::File, &[7; 64], &passphrase(), Cost::TEST, &mut rng).unwrap();
        let (one, two) = (seal().to_bytes(), seal().to_bytes());
        assert!(one[11..].iter().zip(&two[11..]).filter(|(a, b)| a == b).count() < 10);
    }

    #[test]
    fn every_byte_is_bound_and_every_cut_is_noticed() {
        let bytes = sealed(b"hush").to_bytes();
        let opens = |bytes: &[u8]| Sealed::from_bytes(bytes).and_then(|sealed| sealed.open(&passphrase()));
        for at in 0..bytes.len() {
            assert!(opens(&bytes[..at]).is_err(), "cut at {at}");
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(opens(&altered).is_err(), "byte {at}");
        }
        assert_eq!(opens(&[&bytes[..], b"x"].concat()).unwrap_err(), OpenError::Refused);
        // The word for what is inside cannot be exchanged for another.
        let mut altered = bytes.clone();
        altered[1] = Content::Invitation.code();
        assert_eq!(Sealed::from_bytes(&altered).unwrap().content(), Content::Invitation);
        assert_eq!(opens(&altered).unwrap_err(), OpenError::Refused);
    }

    #[test]
    fn what_cannot_be_ours_is_named() {
        let bytes = sealed(b"hush").to_bytes();
        let refusal = |bytes: &[u8]| Sealed::from_bytes(bytes).unwrap_err();
        assert_eq!(refusal(b""), OpenError::Damaged);
        assert_eq!(refusal(&[2; 100]), OpenError::Version(2));
        assert_eq!(refusal(&bytes[..HEADER_LEN + TAG_LEN - 1]), OpenError::Damaged);
        assert_eq!(refusal(&[&bytes[..], &vec![0; MAX_SECRET_BYTES]].concat()), OpenError::TooLong);
        let mut greedy = bytes.clone();
        greedy[2..6].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(refusal(&greedy), OpenError::Cost(CostError::OutOfBounds { .. })));
        let file = Sealed::from_bytes(&bytes).unwrap();
        let expected = Content::Invitation;
        assert_eq!(file.expect(expected), Err(OpenError::Content { found: Content::File, expected }));
    }
}
