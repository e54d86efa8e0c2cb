//! What the operator types.

use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Fewest characters of a passphrase under which something is sealed. Argon2id makes a guess cost a quarter of a
/// second, which makes a random one of this length safe, and a short word never.
pub const MIN_CHARACTERS: usize = 12;
/// Most bytes of a passphrase: far beyond typing, and a wrong file is noticed.
pub const MAX_BYTES: usize = 1024;

/// Digits and lower-case letters without `0 o 1 i l` and `u`, which are misread, misheard or make words: 5 bits each,
/// less a little.
const ALPHABET: &[u8; 30] = b"23456789abcdefghjkmnpqrstvwxyz";
/// Groups of a generated passphrase, and letters in each: 25 letters carry 122 bits.
const GROUPS: usize = 5;
const GROUP_LEN: usize = 5;

/// A passphrase. Wiped when dropped, never printed. White space around it is not part of it, so that it is the same
/// from a file, a variable and a keyboard.
#[derive(Debug)]
pub struct Passphrase(SecretString);

/// Why a text is no passphrase. It is not repeated, and has been wiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Nothing, or white space only.
    #[error("the passphrase is empty")]
    Empty,
    /// More than [`MAX_BYTES`].
    #[error("the passphrase has {0} bytes, at most {MAX_BYTES} are allowed; is this the right file?")]
    TooLong(usize),
    /// More than one line.
    #[error("the passphrase has several lines; is this the right file?")]
    Lines,
    /// Fewer than [`MIN_CHARACTERS`]; only said when something is to be sealed.
    #[error(
        "the passphrase has {0} characters, at least {MIN_CHARACTERS} are needed to seal something; take some random words"
    )]
    TooShort(usize),
}

impl Passphrase {
    /// Takes one over. Long enough or not: it may be for opening something old.
    pub fn new(text: &str) -> Result<Self, PassphraseError> {
        let text = text.trim();
        match text.len() {
            0 => Err(PassphraseError::Empty),
            len if len > MAX_BYTES => Err(PassphraseError::TooLong(len)),
            _ if text.contains(['\n', '\r']) => Err(PassphraseError::Lines),
            _ => Ok(Self(SecretString::from(text))),
        }
    }

    /// Makes one that nobody guesses: groups of letters and digits that are hard to confuse.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(GROUPS * (GROUP_LEN + 1)));
        for letter in 0..GROUPS * GROUP_LEN {
            if letter > 0 && letter % GROUP_LEN == 0 {
                text.push('-');
            }
            text.push(random_letter(rng));
        }
        Self(SecretString::from(text.as_str()))
    }

    /// Refuses one that is too short to seal anything under.
    pub fn strong_enough(self) -> Result<Self, PassphraseError> {
        match self.0.expose_secret().chars().count() {
            short if short < MIN_CHARACTERS => Err(PassphraseError::TooShort(short)),
            _ => Ok(self),
        }
    }

    /// Whether both are the same; for a passphrase that is asked for twice.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }

    /// The text, for showing a generated one on the terminal. Nothing else has a use for it.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The bytes from which a key is derived.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

/// One letter, each equally likely: bytes beyond the last whole multiple of the alphabet are drawn again.
fn random_letter(rng: &mut impl CryptoRng) -> char {
    const WHOLE: usize = 256 - 256 % ALPHABET.len();
    loop {
        let mut byte = [0];
        rng.fill_bytes(&mut byte);
        let byte = usize::from(byte[0]);
        if byte < WHOLE {
            return char::from(ALPHABET[byte % ALPHABET.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn white_space_around_it_does_not_matter_and_inside_does() {
        let plain = Passphrase::new("four random words here").unwrap();
        assert!(plain.same_as(&Passphrase::new(" four random words here\r\n").unwrap()));
        assert!(!plain.same_as(&Passphrase::new("four random  words here").unwrap()));
        assert!(!format!("{plain:?}").contains("random"));
    }

    #[test]
    fn what_is_no_passphrase_is_refused() {
        let refusal = |text: &str| Passphrase::new(text).unwrap_err();
        assert_eq!(refusal(" \n"), PassphraseError::Empty);
        assert_eq!(refusal("a\nb"), PassphraseError::Lines);
        assert_eq!(refusal(&"x".repeat(MAX_BYTES + 1)), PassphraseError::TooLong(MAX_BYTES + 1));
        let short = Passphrase::new("äöüäöüäöüäö").unwrap();
        assert_eq!(short.strong_enough().unwrap_err(), PassphraseError::TooShort(11));
        assert!(Passphrase::new("äöüäöüäöüäöü").unwrap().strong_enough().is_ok());
    }

    #[test]
    fn generated_ones_are_readable_strong_and_use_every_letter() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let passphrase = Passphrase::generate(&mut rng).strong_enough().unwrap();
            let text = passphrase.expose();
            assert_eq!((text.len(), text.matches('-').count()), (29, 4), "{text}");
            seen.extend(text.bytes().filter(|byte| *byte != b'-'));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ALPHABET);
    }
}
