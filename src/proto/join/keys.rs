//! What a cluster token is worth here: two keys, derived from it by whoever holds it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// An HMAC-SHA-256.
pub(super) type Tag = [u8; 32];

/// The keys of one cluster token. Erased when dropped, and never shown.
pub struct JoinKeys {
    ticket: Zeroizing<[u8; 32]>,
    proof: Zeroizing<[u8; 32]>,
}

/// What a tag is made for: each purpose has a key of its own, or what was made for one could be passed off as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// That a ticket was issued by a holder of the token.
    Ticket,
    /// That a request comes from a holder of the token.
    Request,
    /// That an answer does.
    Answer,
    /// The path at which a canary asks.
    GreetingPath,
    /// That a canary's question comes from a holder of the token.
    Greeting,
    /// That the answer to one does.
    GreetingAnswer,
}

impl JoinKeys {
    /// Takes two independent keys that only holders of the token can derive.
    pub fn new(ticket: Zeroizing<[u8; 32]>, proof: Zeroizing<[u8; 32]>) -> Self {
        Self { ticket, proof }
    }

    /// The tag of these parts, each of which is told apart from its neighbours by its length.
    pub(super) fn tag(&self, purpose: Purpose, parts: &[&[u8]]) -> Tag {
        let (key, label): (_, &[u8]) = match purpose {
            Purpose::Ticket => (&self.ticket, b"rustbalance ticket v1"),
            Purpose::Request => (&self.proof, b"rustbalance join request v1"),
            Purpose::Answer => (&self.proof, b"rustbalance join answer v1"),
            Purpose::GreetingPath => (&self.proof, b"rustbalance greeting path v1"),
            Purpose::Greeting => (&self.proof, b"rustbalance greeting v1"),
            Purpose::GreetingAnswer => (&self.proof, b"rustbalance greeting answer v1"),
        };
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&**key);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        for part in std::iter::once(label).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether that is the tag; takes the same time whatever it is.
    pub(super) fn is_tag(&self, purpose: Purpose, parts: &[&[u8]], tag: &Tag) -> bool {
        self.tag(purpose, parts).ct_eq(tag).into()
    }
}

impl fmt::Debug for JoinKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinKeys(..)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Keys for tests.
    pub(in super::super) fn keys(number: u8) -> JoinKeys {
        JoinKeys::new(Zeroizing::new([number; 32]), Zeroizing::new([number ^ 0xff; 32]))
    }

    #[test]
    fn every_key_purpose_and_division_gives_another_tag() {
        let parts: [&[&[u8]]; 4] = [&[], &[b"ab"], &[b"a", b"b"], &[b"", b"ab"]];
        let mut tags = Vec::new();
        for number in [1, 2] {
            for purpose in [
                Purpose::Ticket,
                Purpose::Request,
                Purpose::Answer,
                Purpose::GreetingPath,
                Purpose::Greeting,
                Purpose::GreetingAnswer,
            ] {
                tags.extend(parts.map(|parts| keys(number).tag(purpose, parts)));
            }
        }
        let all = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), all);
        let tag = keys(1).tag(Purpose::Ticket, &[b"x"]);
        assert!(keys(1).is_tag(Purpose::Ticket, &[b"x"], &tag));
        assert!(!keys(1).is_tag(Purpose::Request, &[b"x"], &tag));
        assert_eq!(format!("{:?}", keys(1)), "JoinKeys(..)");
    }

    #[test]
    fn a_tag_is_what_others_compute() {
        // Python: hmac.new(b"\1"*32, b"".join(len(p).to_bytes(8) + p for p in [label, b"x"]), "sha256").hexdigest()
        let tag = keys(1).tag(Purpose::Ticket, &[b"x"]);
        let expected = "076d0455f0e2eaf8757ed340ea24f1709104274db111fa2d6faea62055d26e07";
        assert_eq!(data_encoding::HEXLOWER.encode(&tag), expected);
    }
}
