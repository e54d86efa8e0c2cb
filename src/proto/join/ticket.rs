//! Tickets: permission to join, some times, until some moment.
//!
//! A ticket says nothing about who may use it. It is of use only to a holder of the cluster token, and that it was
//! spent is written into the cluster's ledger, under its number.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

use super::keys::{JoinKeys, Purpose, Tag};

/// Bytes of a ticket that its tag vouches for: number, expiry, uses.
const BODY_BYTES: usize = 16 + 8 + 2;
/// Characters of a ticket's text.
pub const TICKET_LETTERS: usize = ((BODY_BYTES + 32) * 8).div_ceil(6);

/// A ticket. Whoever makes one up without the cluster token cannot get its tag right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    id: [u8; 16],
    expires_ms: u64,
    uses: u16,
    tag: Tag,
}

/// Why a text is no ticket. Nothing was kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a ticket: {TICKET_LETTERS} letters, digits, '-' and '_' are expected; copy it again in full")]
pub struct TicketError;

impl Ticket {
    /// Issues a ticket for `uses` nodes, until `expires_ms` (Unix milliseconds). `id` must be random: two tickets of
    /// one number are spent as one.
    pub fn issue(keys: &JoinKeys, id: [u8; 16], expires_ms: u64, uses: u16) -> Self {
        let tag = keys.tag(Purpose::Ticket, &[&body(id, expires_ms, uses)]);
        Self { id, expires_ms, uses, tag }
    }

    /// Its number.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Until when it may be used, in Unix milliseconds.
    pub fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// How many nodes it lets in.
    pub fn uses(&self) -> u16 {
        self.uses
    }

    /// Whether a holder of these keys issued it. Says nothing about its time.
    pub fn is_issued_under(&self, keys: &JoinKeys) -> bool {
        keys.is_tag(Purpose::Ticket, &[&body(self.id, self.expires_ms, self.uses)], &self.tag)
    }
}

fn body(id: [u8; 16], expires_ms: u64, uses: u16) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    body[..16].copy_from_slice(&id);
    body[16..24].copy_from_slice(&expires_ms.to_be_bytes());
    body[24..].copy_from_slice(&uses.to_be_bytes());
    body
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&body(self.id, self.expires_ms, self.uses)[..], &self.tag].concat();
        f.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

impl fmt::Debug for Ticket {
    /// Without its tag: what is shown may be read by others, and is then no ticket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("id", &data_encoding::HEXLOWER.encode(&self.id))
            .field("expires_ms", &self.expires_ms)
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let bytes = BASE64URL_NOPAD.decode(text.trim().as_bytes()).map_err(|_| TicketError)?;
        let (id, rest) = bytes.split_first_chunk::<16>().ok_or(TicketError)?;
        let (expires, rest) = rest.split_first_chunk::<8>().ok_or(TicketError)?;
        let (uses, tag) = rest.split_first_chunk::<2>().ok_or(TicketError)?;
        Ok(Self {
            id: *id,
            expires_ms: u64::from_be_bytes(*expires),
            uses: u16::from_be_bytes(*uses),
            tag: tag.try_into().map_err(|_| TicketError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::keys;
    use super::*;

    #[test]
    fn a_ticket_survives_its_text() {
        let ticket = Ticket::issue(&keys(1), [7; 16], 1_790_000_000_000, 3);
        let text = ticket.to_string();
        assert_eq!(text.len(), TICKET_LETTERS);
        let again: Ticket = format!(" {text}\n").parse().unwrap();
        assert_eq!(again, ticket);
        assert_eq!((again.id(), again.expires_ms(), again.uses()), ([7; 16], 1_790_000_000_000, 3));
        assert!(again.is_issued_under(&keys(1)) && !again.is_issued_under(&keys(2)));
        assert!(!format!("{ticket:?}").contains(&text[50..60]), "{ticket:?}");
    }

    #[test]
    fn no_changed_bit_goes_unseen() {
        let bytes = BASE64URL_NOPAD
            .decode(Ticket::issue(&keys(1), [7; 16], 5_000, 1).to_string().as_bytes())
            .unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged: Ticket = BASE64URL_NOPAD.encode(&forged).parse().unwrap();
            assert!(!forged.is_issued_under(&keys(1)), "bit {bit}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let text = Ticket::issue(&keys(1), [7; 16], 5_000, 1).to_string();
        for bad in ["", "x", &text[1..], &format!("{text}A"), &text.replace('A', "+")] {
            assert_eq!(bad.parse::<Ticket>(), Err(TicketError), "{bad}");
        }
    }
}
