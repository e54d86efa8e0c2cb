//! Commands to tor (control-spec, section 3) as bytes. No I/O.
//!
//! Nothing that comes from outside can start a second command: line ends are refused everywhere.

use data_encoding::HEXUPPER;
use zeroize::Zeroizing;

use crate::proto::onion::address::HsId;
use crate::tor::error::ControlError;
use crate::tor::event::EventKind;
use crate::tor::quoting::quote;
use crate::tor::relay_name;

/// Largest descriptor posted, in bytes. HSDirs refuse 50,000 and more, and tor's limit for a whole command is
/// 1 MiB, beyond which it closes the connection.
pub const MAX_POSTED_BYTES: usize = 50_000;

/// Longest command of one line, in bytes without its end. Tor closes the connection on more than 1 MiB
/// (`MAX_COMMAND_LINE_LENGTH`), which would be mistaken for its death.
pub const MAX_LINE_BYTES: usize = 1024 * 1024 - 64;

/// The longest path: as many EXTEND cells as tor sends for one circuit (tor-spec, section 5.6).
const MAX_HOPS: usize = 8;
/// Most HSDirs named in one command: 16 replicas of 128, the largest values the consensus may set.
pub const MAX_SERVERS: usize = 16 * 128;

/// One command, ready to be sent.
pub struct Command {
    /// Its keyword, for errors and logs.
    pub keyword: &'static str,
    /// Its bytes; erased when dropped, for they may hold a secret.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What a tor can be told to do at once (control-spec 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Read the configuration file again. What was set by `SETCONF` and not saved is lost.
    Reload,
    /// End in good order.
    Shutdown,
    /// End at once.
    Halt,
    /// Use new circuits and forget fetched descriptors. Tor heeds it once in 10 s.
    NewNym,
    /// Leave dormant mode. A tor without a service goes dormant after 24 hours without use.
    Active,
}

impl Command {
    /// A command of one line.
    fn line(keyword: &'static str, arguments: &str) -> Result<Self, ControlError> {
        if arguments.chars().any(char::is_control) {
            return Err(ControlError::Argument {
                command: keyword,
                what: "an argument has a control character",
            });
        }
        if arguments.len() > MAX_LINE_BYTES {
            return Err(ControlError::Argument { command: keyword, what: "it is longer than tor accepts" });
        }
        let space = if arguments.is_empty() { "" } else { " " };
        Ok(Self { keyword, bytes: Zeroizing::new(format!("{keyword}{space}{arguments}\r\n").into_bytes()) })
    }

    /// `PROTOCOLINFO`: which ways of authentication does tor offer?
    pub fn protocol_info() -> Result<Self, ControlError> {
        Self::line("PROTOCOLINFO", "1")
    }

    /// `AUTHCHALLENGE`: the first half of `SAFECOOKIE`.
    pub fn auth_challenge(client_nonce: &[u8]) -> Result<Self, ControlError> {
        Self::line("AUTHCHALLENGE", &format!("SAFECOOKIE {}", HEXUPPER.encode(client_nonce)))
    }

    /// `AUTHENTICATE` with a secret; empty for `NULL`. In hexadecimal, so that every byte is safe.
    pub fn authenticate(secret: &[u8]) -> Self {
        const KEYWORD: &str = "AUTHENTICATE";
        // All room at once: a vector that grows leaves copies of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEYWORD.len() + 3 + 2 * secret.len()));
        bytes.extend_from_slice(KEYWORD.as_bytes());
        if !secret.is_empty() {
            bytes.push(b' ');
            let start = bytes.len();
            bytes.resize(start + 2 * secret.len(), 0);
            HEXUPPER.encode_mut(secret, &mut bytes[start..]);
        }
        bytes.extend_from_slice(b"\r\n");
        Self { keyword: KEYWORD, bytes }
    }

    /// `GETINFO` for one key.
    pub fn getinfo(key: &str) -> Result<Self, ControlError> {
        Self::line("GETINFO", one_word("GETINFO", key)?)
    }

    /// `GETCONF` for one option or group of options.
    pub fn getconf(option: &str) -> Result<Self, ControlError> {
        Self::line("GETCONF", one_word("GETCONF", option)?)
    }

    /// `SETCONF`: each option with its value, or without one to make it empty. Options are set together or
    /// not at all. Naming one option of a group (hidden services) replaces the whole group.
    pub fn setconf(options: &[(&str, Option<&str>)]) -> Result<Self, ControlError> {
        Self::line("SETCONF", &assignments("SETCONF", options)?)
    }

    /// `RESETCONF`: as `SETCONF`, but an option without a value gets its default.
    pub fn resetconf(options: &[(&str, Option<&str>)]) -> Result<Self, ControlError> {
        Self::line("RESETCONF", &assignments("RESETCONF", options)?)
    }

    /// `SETEVENTS`: from now on these kinds of events and no others.
    pub fn setevents(kinds: &[EventKind]) -> Result<Self, ControlError> {
        Self::line("SETEVENTS", &kinds.iter().map(|kind| kind.keyword()).collect::<Vec<_>>().join(" "))
    }

    /// `SIGNAL`.
    pub fn signal(signal: Signal) -> Result<Self, ControlError> {
        Self::line(
            "SIGNAL",
            match signal {
                Signal::Reload => "RELOAD",
                Signal::Shutdown => "SHUTDOWN",
                Signal::Halt => "HALT",
                Signal::NewNym => "NEWNYM",
                Signal::Active => "ACTIVE",
            },
        )
    }

    /// `HSPOST` to these HSDirs. Without `SERVER=` tor would compute HSDirs of its own, the wrong ones most of
    /// the time, and without `HSADDRESS=` it would never answer; so neither can be left out.
    pub fn hspost(servers: &[[u8; 20]], address: &HsId, descriptor: &str) -> Result<Self, ControlError> {
        const KEYWORD: &str = "HSPOST";
        let what = if descriptor.len() >= MAX_POSTED_BYTES {
            Some("the descriptor has 50,000 bytes or more, which no HSDir takes")
        } else if descriptor.contains('\r') {
            Some("the descriptor has a carriage return, which tor would drop")
        } else {
            None
        };
        if let Some(what) = what {
            return Err(ControlError::Argument { command: KEYWORD, what });
        }
        let servers = server_arguments(KEYWORD, servers)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(servers.len() + descriptor.len() * 2 + 128));
        bytes.extend_from_slice(
            format!("+{KEYWORD}{servers} HSADDRESS={}\r\n", address.service_id()).as_bytes(),
        );
        for line in descriptor.lines() {
            if line.starts_with('.') {
                bytes.push(b'.');
            }
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b".\r\n");
        Ok(Self { keyword: KEYWORD, bytes })
    }

    /// `EXTENDCIRCUIT 0`: a new circuit, by a way that tor chooses.
    pub fn extend_circuit() -> Result<Self, ControlError> {
        Self::line("EXTENDCIRCUIT", "0")
    }

    /// `EXTENDCIRCUIT 0`: a new circuit over these relays, which tor uses for nothing.
    pub fn extend_circuit_by(path: &[[u8; 20]]) -> Result<Self, ControlError> {
        const KEYWORD: &str = "EXTENDCIRCUIT";
        if path.is_empty() || path.len() > MAX_HOPS {
            return Err(ControlError::Argument { command: KEYWORD, what: "no circuit has so many relays" });
        }
        let path: Vec<_> = path.iter().map(relay_name::format).collect();
        Self::line(KEYWORD, &format!("0 {} purpose=controller", path.join(",")))
    }

    /// `CLOSECIRCUIT`, whatever runs over it.
    pub fn close_circuit(id: &str) -> Result<Self, ControlError> {
        Self::line("CLOSECIRCUIT", one_word("CLOSECIRCUIT", id)?)
    }

    /// `HSFETCH` from these HSDirs, of the descriptor of the period that clients use now.
    pub fn hsfetch(address: &HsId, servers: &[[u8; 20]]) -> Result<Self, ControlError> {
        let servers = server_arguments("HSFETCH", servers)?;
        Self::line("HSFETCH", &format!("{}{servers}", address.service_id()))
    }
}

/// Checks that an argument is one word.
fn one_word<'a>(command: &'static str, word: &'a str) -> Result<&'a str, ControlError> {
    if word.is_empty() || word.contains([' ', '"', '=']) {
        return Err(ControlError::Argument { command, what: "a name is not one word" });
    }
    Ok(word)
}

/// `A="x y" B C="z"`.
fn assignments(command: &'static str, options: &[(&str, Option<&str>)]) -> Result<String, ControlError> {
    if options.is_empty() {
        return Err(ControlError::Argument { command, what: "it names no option" });
    }
    let mut words = Vec::with_capacity(options.len());
    for (option, value) in options {
        let option = one_word(command, option)?;
        words.push(match value {
            None => option.to_owned(),
            Some(value) => {
                let what = "a value has a control character";
                format!("{option}={}", quote(value).ok_or(ControlError::Argument { command, what })?)
            }
        });
    }
    Ok(words.join(" "))
}

/// ` SERVER=… SERVER=…`.
fn server_arguments(command: &'static str, servers: &[[u8; 20]]) -> Result<String, ControlError> {
    if servers.is_empty() {
        return Err(ControlError::Argument { command, what: "it names no HSDir" });
    }
    if servers.len() > MAX_SERVERS {
        return Err(ControlError::Argument { command, what: "it names more HSDirs than can be responsible" });
    }
    Ok(servers.iter().flat_map(|server| [" SERVER=".to_owned(), relay_name::format(server)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any service.
    fn service() -> HsId {
        HsId::from_address("25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid").unwrap()
    }

    fn text(command: Result<Command, ControlError>) -> String {
        String::from_utf8(command.unwrap().bytes.to_vec()).unwrap()
    }

    #[test]
    fn commands_are_written_as_tor_reads_them() {
        assert_eq!(text(Command::getinfo("md/all")), "GETINFO md/all\r\n");
        assert_eq!(
            text(Command::setconf(&[("SocksPort", None), ("ContactInfo", Some(r#"a "b" \c"#))])),
            "SETCONF SocksPort ContactInfo=\"a \\\"b\\\" \\\\c\"\r\n"
        );
        assert_eq!(text(Command::setevents(&[])), "SETEVENTS\r\n");
        assert_eq!(
            text(Command::setevents(&[EventKind::HsDesc, EventKind::CircMinor])),
            "SETEVENTS HS_DESC CIRC_MINOR\r\n"
        );
        assert_eq!(
            text(Command::extend_circuit_by(&[[0xab; 20], [1; 20]])),
            format!("EXTENDCIRCUIT 0 {},{} purpose=controller\r\n", "AB".repeat(20), "01".repeat(20))
        );
        assert!(
            Command::extend_circuit_by(&[]).is_err() && Command::extend_circuit_by(&[[1; 20]; 9]).is_err()
        );
        assert_eq!(text(Ok(Command::authenticate(b""))), "AUTHENTICATE\r\n");
        assert_eq!(text(Ok(Command::authenticate(b"\r\n\xff"))), "AUTHENTICATE 0D0AFF\r\n");
        assert_eq!(
            text(Command::hsfetch(&service(), &[[0xab; 20], [1; 20]])),
            format!(
                "HSFETCH 25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid SERVER={} SERVER={}\r\n",
                "AB".repeat(20),
                "01".repeat(20)
            )
        );
        assert_eq!(
            text(Command::hspost(&[[0; 20]], &service(), "hs-descriptor 3\n.x\n.\n\nend\n")),
            format!(
                "+HSPOST SERVER={} HSADDRESS=25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid\r\nhs-descriptor 3\r\n..x\r\n..\r\n\r\nend\r\n.\r\n",
                "00".repeat(20)
            )
        );
    }

    #[test]
    fn nothing_can_start_a_second_command() {
        let evil = "x\r\nSIGNAL HALT";
        for command in [
            Command::getinfo(evil),
            Command::getinfo("a b"),
            Command::getconf(evil),
            Command::setconf(&[(evil, None)]),
            Command::setconf(&[("A=\"b\" C", None)]),
            Command::setconf(&[("ContactInfo", Some(evil))]),
            Command::resetconf(&[("ContactInfo", Some("\0"))]),
            Command::hspost(&[[0; 20]], &service(), "a\r.\r\nSIGNAL HALT\n"),
        ] {
            assert!(matches!(command, Err(ControlError::Argument { .. })));
        }
        let posted = text(Command::hspost(&[[0; 20]], &service(), "a\n.\nSIGNAL HALT\n"));
        assert!(posted.contains("\r\n..\r\nSIGNAL HALT\r\n.\r\n"), "{posted}");
    }

    #[test]
    fn what_tor_would_not_do_is_not_sent() {
        let large = "x".repeat(MAX_POSTED_BYTES);
        for command in [
            Command::hspost(&[], &service(), "x"),
            Command::hspost(&[[0; 20]], &service(), &large),
            Command::hspost(&vec![[0; 20]; MAX_SERVERS + 1], &service(), "x"),
            Command::hsfetch(&service(), &[]),
            Command::setconf(&[]),
            Command::getinfo(""),
            Command::getinfo(&"x".repeat(MAX_LINE_BYTES + 1)),
        ] {
            assert!(matches!(command, Err(ControlError::Argument { .. })));
        }
    }
}
