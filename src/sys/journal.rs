//! A layer that writes events into the journal, as people read it: the reason stands in the message, beside the fields for
//! those who search.
//!
//! One datagram an event, in journald's native protocol: `NAME=value` lines, where a value with line breaks has its length
//! in front of it.

use std::fmt::{self, Write};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// How long journald may take: a burst is taken whole, but a log that nobody reads does not hold up what is logged.
const PATIENCE: Duration = Duration::from_millis(100);
/// Longest value that is written: a datagram of some of them still fits into any socket's buffer.
const MAX_VALUE_BYTES: usize = 16 * 1024;
/// Most fields of an event that are written on their own; all stand in the message.
const MAX_FIELDS: usize = 16;
/// Fields for those who search (`journalctl MESSAGE_ID=…`); the message says the same in words.
const FOR_SEARCH: [&str; 3] = ["message_id", "failure", "part"];

/// Writes events into the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    identifier: String,
}

impl Journal {
    /// Connects to journald at that socket; `identifier` is what `journalctl -t` knows this process by.
    pub fn connect(socket: &Path, identifier: &str) -> io::Result<Self> {
        let journald = UnixDatagram::unbound()?;
        journald.connect(socket)?;
        journald.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket: journald, identifier: identifier.to_owned() })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let mut entry = Entry::default();
        entry.add("PRIORITY", priority(*event.metadata().level()));
        entry.add("SYSLOG_IDENTIFIER", &self.identifier);
        entry.add("TARGET", event.metadata().target());
        entry.add("MESSAGE", &said.line());
        for (name, value) in said.fields.iter().take(MAX_FIELDS) {
            entry.add(&name.to_ascii_uppercase(), value);
        }
        // Where it cannot be written there is nobody to tell.
        let _ = self.socket.send(&entry.0);
    }
}

/// As syslog counts.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    /// The message, and behind it what the fields say: a reason in its own words, everything else with its name.
    fn line(&self) -> String {
        let mut line = self.message.clone();
        let (mut mark, mut end) = (" (", "");
        for (name, value) in &self.fields {
            match *name {
                name if FOR_SEARCH.contains(&name) => continue,
                "error" | "reason" => _ = write!(line, "{mark}{value}"),
                name => _ = write!(line, "{mark}{name}: {value}"),
            }
            (mark, end) = ("; ", ")");
        }
        line.push_str(end);
        line
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push((name, format!("{value:?}"))),
        }
    }
}

/// A datagram.
#[derive(Debug, Default)]
struct Entry(Vec<u8>);

impl Entry {
    fn add(&mut self, name: &str, value: &str) {
        let value = &value[..value.floor_char_boundary(MAX_VALUE_BYTES)];
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What journald gets of some events.
    fn entries(events: impl FnOnce()) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        journald.set_nonblocking(true).unwrap();
        let journal = Journal::connect(&path, "rustbalance-test").unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), events);
        let mut buffer = vec![0; 1 << 20];
        let mut entries = Vec::new();
        while let Ok(length) = journald.recv(&mut buffer) {
            entries.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        entries
    }

    #[test]
    fn the_reason_stands_in_the_message_and_in_a_field() {
        let error = io::Error::other("no such tunnel");
        let said = entries(|| {
            tracing::warn!(%error, interface = "wg-rb", "the tunnel cannot be read");
            tracing::info!("started");
            tracing::error!(
                message_id = "0123",
                failure = Some("away"),
                part = None::<&str>,
                count = 7,
                "an alarm"
            );
        });
        let [warning, started, alarm] = &said[..] else { panic!("{said:?}") };
        assert!(warning.starts_with("PRIORITY=4\nSYSLOG_IDENTIFIER=rustbalance-test\nTARGET="), "{warning}");
        assert!(warning.contains("\nMESSAGE=the tunnel cannot be read (no such tunnel; interface: wg-rb)\n"));
        assert!(warning.ends_with("\nERROR=no such tunnel\nINTERFACE=wg-rb\n"), "{warning}");
        assert!(started.starts_with("PRIORITY=6\n") && started.ends_with("\nMESSAGE=started\n"), "{started}");
        assert!(
            alarm.ends_with("\nMESSAGE=an alarm (count: 7)\nMESSAGE_ID=0123\nFAILURE=away\nCOUNT=7\n"),
            "{alarm}"
        );
    }

    #[test]
    fn no_value_begins_a_field_of_its_own_and_none_is_too_long() {
        let said = entries(|| tracing::warn!(error = "a\nPRIORITY=0\n", "b"));
        assert!(said[0].contains("MESSAGE\n\u{11}\0\0\0\0\0\0\0b (a\nPRIORITY=0\n)\n"), "{said:?}");
        let long = "ä".repeat(MAX_VALUE_BYTES);
        let said = entries(|| tracing::warn!("{long}"));
        assert!(said[0].len() < MAX_VALUE_BYTES + 200 && said[0].ends_with("ä\n"), "{}", said[0].len());
    }
}
