//! The middle document (`rend-spec-v3` 2.5.1): the descriptor's ephemeral key, a line for each authorised client, and the
//! encrypted inner document. Tor writes this layer with or without client authorisation; without, all lines are fillers.

use data_encoding::{BASE64, BASE64_NOPAD};
use thiserror::Error;

use crate::proto::onion::descriptor::client_auth::AuthClient;
use crate::proto::onion::descriptor::document::{GrammarError, Items, Writer, once};

/// The number of `auth-client` lines is a multiple of this, so that it says little about the number of clients.
pub const AUTH_CLIENT_MULTIPLE: usize = 16;

/// Why a decrypted text is not a middle document. The descriptor is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MiddleError {
    /// The text is not made of the lines a middle document has.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// Clients are authorised in a way other than `x25519`, which is the only known one.
    #[error("unknown way of authorising clients")]
    AuthType,
}

/// A middle document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Middle {
    /// The public half of the key under which the cookie is encrypted to clients, x25519.
    pub ephemeral_key: [u8; 32],
    /// One line for each client, and fillers.
    pub clients: Vec<AuthClient>,
    /// The encrypted inner document.
    pub encrypted: Vec<u8>,
}

impl Middle {
    /// Reads a middle document, padding already removed.
    pub fn parse(text: &str) -> Result<Self, MiddleError> {
        let (mut ephemeral_key, mut encrypted) = (None, None);
        let mut clients = Vec::new();
        let mut items = Items::new(text);
        let first = items.next().ok_or(GrammarError::Missing("desc-auth-type"))??;
        if first.keyword != "desc-auth-type" {
            return Err(GrammarError::NotFirst(first.line, "desc-auth-type").into());
        }
        if first.leading_arguments()? != ["x25519"] {
            return Err(MiddleError::AuthType);
        }
        for item in items {
            let item = item?;
            match item.keyword {
                "desc-auth-type" => return Err(GrammarError::Duplicate(item.line).into()),
                "desc-auth-ephemeral-key" => once(&mut ephemeral_key, item)?,
                "encrypted" => once(&mut encrypted, item)?,
                "auth-client" => {
                    let [id, iv, cookie] = item.leading_arguments()?;
                    let encrypted_cookie = item.bytes(cookie)?;
                    clients.push(AuthClient { id: item.bytes(id)?, iv: item.bytes(iv)?, encrypted_cookie });
                }
                _ => {}
            }
        }
        if clients.is_empty() {
            return Err(GrammarError::Missing("auth-client").into());
        }
        let ephemeral_key = ephemeral_key.ok_or(GrammarError::Missing("desc-auth-ephemeral-key"))?;
        let encrypted = encrypted.ok_or(GrammarError::Missing("encrypted"))?;
        encrypted.only_keyword()?;
        let [key] = ephemeral_key.leading_arguments()?;
        Ok(Self {
            ephemeral_key: ephemeral_key.bytes(key)?,
            clients,
            encrypted: encrypted.object("MESSAGE")?,
        })
    }

    /// Writes the document as tor does: client lines without base64 padding, no newline at the end.
    pub fn write(&self) -> String {
        let key = BASE64.encode(&self.ephemeral_key);
        let mut document = Writer::new();
        document.line("desc-auth-type", &["x25519"]);
        document.line("desc-auth-ephemeral-key", &[&key]);
        for client in &self.clients {
            let [id, iv, cookie] = [&client.id[..], &client.iv, &client.encrypted_cookie];
            let [id, iv, cookie] = [id, iv, cookie].map(|bytes| BASE64_NOPAD.encode(bytes));
            document.line("auth-client", &[&id, &iv, &cookie]);
        }
        document.object("encrypted", "MESSAGE", &self.encrypted);
        let mut text = document.finish();
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn middle() -> Middle {
        let client = AuthClient { id: [1; 8], iv: [2; 16], encrypted_cookie: [3; 16] };
        Middle { ephemeral_key: [4; 32], clients: vec![client; 16], encrypted: vec![5; 100] }
    }

    #[test]
    fn reads_what_it_writes() {
        let text = middle().write();
        assert_eq!(Middle::parse(&text), Ok(middle()));
        assert_eq!(text.lines().filter(|line| line.starts_with("auth-client ")).count(), 16);
        assert!(text.ends_with("-----END MESSAGE-----"), "tor writes no newline here");
        assert_eq!(Middle::parse(&format!("{text}\nfuture thing\n")), Ok(middle()));
    }

    #[test]
    fn refuses_missing_repeated_and_misplaced_lines() {
        let text = middle().write();
        let without = |keyword: &str| {
            text.split_inclusive('\n').filter(|line| !line.starts_with(keyword)).collect::<String>()
        };
        for (text, error) in [
            (String::new(), GrammarError::Missing("desc-auth-type")),
            (without("desc-auth-type"), GrammarError::NotFirst(1, "desc-auth-type")),
            (without("desc-auth-ephemeral-key"), GrammarError::Missing("desc-auth-ephemeral-key")),
            (without("auth-client"), GrammarError::Missing("auth-client")),
            (text[..text.find("encrypted").unwrap()].to_owned(), GrammarError::Missing("encrypted")),
            (format!("{text}\nencrypted"), GrammarError::Duplicate(25)),
            (format!("{text}\ndesc-auth-type x25519"), GrammarError::Duplicate(25)),
            (text.replace("auth-client AQ", "auth-client "), GrammarError::Base64(3)),
            (text.replace("encrypted\n", "encrypted x\n"), GrammarError::Arguments(19)),
        ] {
            assert_eq!(Middle::parse(&text), Err(error.into()), "{text}");
        }
        assert_eq!(Middle::parse(&text.replace("x25519", "rsa")), Err(MiddleError::AuthType));
    }
}
