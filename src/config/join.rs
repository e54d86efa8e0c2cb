//! `[join]`: letting new nodes in, and being let in.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::seconds;
use super::secret::{Secret, SecretError, Unseal};
use crate::proto::join::secret::JoinSecret;
use crate::proto::join::ticket::Ticket;

/// More tries than this are not worth waiting for: after them the node goes on, more rarely.
const MAX_ATTEMPTS: u32 = 1000;

/// `[join]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The join secret, the same on every node; without it nobody is let in here.
    #[serde(alias = "secret")]
    pub secret_file: Option<Secret>,
    /// This node's ticket, if it was invited: it joins before it serves. A founder has none.
    #[serde(alias = "ticket")]
    pub ticket_file: Option<Secret>,
    /// The virtual port of the onion service at which joining is asked for.
    #[serde(default = "Join::default_port", deserialize_with = "port")]
    pub port: u16,
    /// How often an invited node tries before the tries become rare.
    #[serde(default = "Join::default_attempts", deserialize_with = "attempts")]
    pub attempts: u32,
    /// How long it waits between them.
    #[serde(default = "Join::default_retry", deserialize_with = "seconds::between::<_, 100, 300_000>")]
    pub retry_secs: Duration,
}

impl Join {
    /// That of HTTP.
    fn default_port() -> u16 {
        80
    }

    /// Seed section 3.
    fn default_attempts() -> u32 {
        5
    }

    /// Seed section 3.
    fn default_retry() -> Duration {
        Duration::from_secs(15)
    }

    /// Reads the join secret; `None` where none is configured.
    pub fn read_secret(&self, unseal: Unseal<'_>) -> Result<Option<JoinSecret>, SecretError> {
        let Some(source) = &self.secret_file else { return Ok(None) };
        let secret = JoinSecret::from_text(source.read_text(unseal)?.expose_secret());
        secret.map(Some).map_err(|_| source.wrong("a join secret (43 letters, digits, '-' and '_')"))
    }

    /// Reads this node's ticket; `None` where none is configured.
    pub fn read_ticket(&self, unseal: Unseal<'_>) -> Result<Option<Ticket>, SecretError> {
        let Some(source) = &self.ticket_file else { return Ok(None) };
        let ticket = source.read_text(unseal)?.expose_secret().parse();
        ticket.map(Some).map_err(|_| source.wrong("the ticket of an invitation"))
    }
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    match u16::deserialize(deserializer)? {
        0 => Err(de::Error::custom("an onion service has no port 0, expected 1 to 65535")),
        port => Ok(port),
    }
}

fn attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    if (1..=MAX_ATTEMPTS).contains(&number) {
        Ok(number)
    } else {
        Err(de::Error::custom(format!("{number} is out of range, expected 1 to {MAX_ATTEMPTS}")))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_and_tickets_are_read_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let (secret, wrong) = (write("secret", &"A".repeat(43)), write("wrong", "short"));
        let ticket = write("ticket", &"A".repeat(78));
        let join = |text: &str| toml::from_str::<Join>(text).unwrap();
        let founder = join(&format!("secret_file = {secret:?}"));
        assert_eq!(*founder.read_secret(&Ok).unwrap().unwrap().to_text(), "A".repeat(43));
        assert!(founder.read_ticket(&Ok).unwrap().is_none());
        assert_eq!((founder.port, founder.attempts, founder.retry_secs.as_secs()), (80, 5, 15));
        let invited = join(&format!("ticket_file = {ticket:?}\nattempts = 1"));
        assert!(invited.read_secret(&Ok).unwrap().is_none());
        assert_eq!(invited.read_ticket(&Ok).unwrap().unwrap().uses(), 0);
        let bad = join(&format!("ticket_file = {wrong:?}\nsecret_file = {wrong:?}"));
        assert!(bad.read_secret(&Ok).unwrap_err().to_string().contains("join secret"));
        assert!(bad.read_ticket(&Ok).unwrap_err().to_string().contains("ticket of an invitation"));
        for bad in ["attempts = 0", "port = 0", "retry_secs = 301", "secret_file = \"relative\""] {
            assert!(toml::from_str::<Join>(bad).is_err(), "{bad}");
        }
    }
}
