//! Asynchronous events (control-spec, section 4.1), typed. No I/O.

use crate::proto::onion::address::HsId;
use crate::proto::onion::blinding::HsBlindId;
use crate::tor::error::CloseReason;
use crate::tor::quoting::{keyword_argument, words};
use crate::tor::relay_name;
use crate::tor::reply::Reply;

/// Largest descriptor accepted in an `HS_DESC_CONTENT` event, in bytes. Tor takes less than 50,000 from an HSDir
/// (`HSV3MaxDescriptorSize`). Together with the length of the event queue this bounds what waiting events hold.
pub const MAX_CONTENT_BYTES: usize = 64 * 1024;

/// Words of an event that are read; the longest event has some twenty, and later words are unknown to us anyway.
/// Without this limit a long line of short words would cost many times its bytes in memory.
const MAX_WORDS: usize = 128;

/// The kinds of events that can be asked for with `SETEVENTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// Descriptors created, uploaded, fetched: [`TorEvent::HsDesc`].
    HsDesc,
    /// The text of fetched descriptors: [`TorEvent::HsDescContent`].
    HsDescContent,
    /// Circuits built and closed: [`TorEvent::Circ`].
    Circ,
    /// Circuits that changed their purpose: [`TorEvent::CircMinor`].
    CircMinor,
    /// A new consensus: [`TorEvent::NewConsensus`].
    NewConsensus,
    /// Tor's state as a client: [`TorEvent::StatusClient`].
    StatusClient,
    /// Tor's general state: [`TorEvent::StatusGeneral`].
    StatusGeneral,
    /// Whether the network answers: [`TorEvent::NetworkLiveness`].
    NetworkLiveness,
    /// Once a second, what was read: [`TorEvent::Bandwidth`].
    Bandwidth,
}

impl EventKind {
    /// The keyword of the protocol.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::HsDesc => "HS_DESC",
            Self::HsDescContent => "HS_DESC_CONTENT",
            Self::Circ => "CIRC",
            Self::CircMinor => "CIRC_MINOR",
            Self::NewConsensus => "NEWCONSENSUS",
            Self::StatusClient => "STATUS_CLIENT",
            Self::StatusGeneral => "STATUS_GENERAL",
            Self::NetworkLiveness => "NETWORK_LIVENESS",
            Self::Bandwidth => "BW",
        }
    }
}

/// What tor says without being asked, and what the connection itself has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TorEvent {
    /// A descriptor was made, sent or fetched, or that failed.
    HsDesc(HsDescEvent),
    /// The descriptor an HSDir gave. Empty text: it had none (an `HsDesc` event says why).
    HsDescContent(HsDescContent),
    /// A circuit was launched, extended, built, or is gone. `change` is `LAUNCHED`, `BUILT`, `GUARD_WAIT`,
    /// `EXTENDED`, `FAILED` or `CLOSED`.
    Circ(CircuitEvent),
    /// A circuit has a new use. `change` is `PURPOSE_CHANGED` or `CANNIBALIZED`.
    CircMinor(CircuitEvent),
    /// Tor has a new consensus; ask for it.
    NewConsensus,
    /// For example `CONSENSUS_ARRIVED`, `CIRCUIT_ESTABLISHED`, `NOT_ENOUGH_DIR_INFO`.
    StatusClient(StatusEvent),
    /// For example `CLOCK_SKEW`, `CLOCK_JUMPED`.
    StatusGeneral(StatusEvent),
    /// Tor believes the network to be up or down.
    NetworkLiveness {
        /// Up?
        up: bool,
    },
    /// A second has passed (control-spec 4.1.4).
    Bandwidth {
        /// Bytes that tor has read in it, those of its own machine's connections left out.
        read: u64,
    },
    /// An event of a kind that this program does not know.
    Other {
        /// Its keyword.
        keyword: String,
    },
    /// Events are missing at this place of the stream: more came than the reader took, or some were not
    /// understood. Whatever was learned from events may be out of date: read everything anew with GETINFO, as
    /// after a connect.
    Missed {
        /// How many at least.
        count: u64,
    },
    /// The connection is closed; this is the last event. Tor may or may not live; connect again.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// An `HS_DESC` event (control-spec 4.1.25).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsDescEvent {
    /// What happened.
    pub action: HsDescAction,
    /// The service; `None` if tor does not know it.
    pub address: Option<HsId>,
    /// The HSDir, by its RSA identity; `None` if none is concerned.
    pub fingerprint: Option<[u8; 20]>,
    /// The blinded key of the descriptor. `UPLOADED` never has it.
    pub blinded: Option<HsBlindId>,
    /// Why it failed.
    pub reason: Option<HsDescFailure>,
}

/// What happened to a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HsDescAction {
    /// It was asked for at an HSDir.
    Requested,
    /// Tor began to upload its own. Never seen for HSPOST.
    Upload,
    /// It came from an HSDir and is usable.
    Received,
    /// The HSDir accepted it.
    Uploaded,
    /// It came from an HSDir and was not used.
    Ignore,
    /// Upload or fetch failed.
    Failed,
    /// Tor made a new one for its own service: at the start twice, at a rotation once, at a refresh never.
    Created,
    /// An action that this program does not know.
    Other(String),
}

/// Why the upload or the fetch of a descriptor failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HsDescFailure {
    /// It came, but does not parse or verify, or cannot be decrypted.
    BadDesc,
    /// The HSDir refused the request.
    QueryRejected,
    /// The HSDir answered 400: for us nearly always a revision counter that is not higher than its own.
    UploadRejected,
    /// The HSDir does not have it.
    NotFound,
    /// The HSDir answered something else, or not at all.
    Unexpected,
    /// No HSDir to ask.
    QueryNoHsDir,
    /// The HSDirs were asked too often.
    QueryRateLimited,
    /// A reason that this program does not know.
    Other(String),
}

/// An `HS_DESC_CONTENT` event (control-spec 4.1.26).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsDescContent {
    /// The service; `None` if tor does not know it.
    pub address: Option<HsId>,
    /// The blinded key that was asked for.
    pub blinded: Option<HsBlindId>,
    /// The HSDir, by its RSA identity.
    pub fingerprint: Option<[u8; 20]>,
    /// The descriptor; empty if there was none.
    pub text: String,
}

/// A `CIRC` or `CIRC_MINOR` event (control-spec 4.1.1 and 4.1.19), without what does not concern us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitEvent {
    /// The circuit's name while this tor lives.
    pub id: String,
    /// What happened.
    pub change: String,
    /// The relays so far by RSA identity; for an introduction circuit the last one is the introduction point.
    pub path: Vec<[u8; 20]>,
    /// For example `HS_SERVICE_INTRO`.
    pub purpose: Option<String>,
    /// For example `HSSI_CONNECTING`, `HSSI_ESTABLISHED`.
    pub hs_state: Option<String>,
    /// The service it is for.
    pub rend_query: Option<HsId>,
    /// Why it is gone.
    pub reason: Option<String>,
    /// Why it is gone in the words of the relay that closed it (`reason` is then `DESTROYED`).
    pub remote_reason: Option<String>,
    /// The purpose before a change.
    pub old_purpose: Option<String>,
    /// The state before a change.
    pub old_hs_state: Option<String>,
}

impl CircuitEvent {
    /// Whether it is a circuit to an introduction point of a service that this tor serves, or will be.
    pub fn is_introduction(&self) -> bool {
        self.purpose.as_deref() == Some("HS_SERVICE_INTRO")
    }

    /// Whether clients can be introduced by it.
    pub fn introduces(&self) -> bool {
        self.hs_state.as_deref() == Some("HSSI_ESTABLISHED")
    }
}

/// A `STATUS_CLIENT` or `STATUS_GENERAL` event (control-spec 4.1.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    /// `NOTICE`, `WARN` or `ERR`.
    pub severity: String,
    /// What happened, for example `CONSENSUS_ARRIVED`.
    pub action: String,
    /// Keyword arguments as tor wrote them, quotation marks included.
    pub arguments: Vec<(String, String)>,
}

/// Why an event could not be understood. It counts as missed; the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Fewer words than this kind of event always has.
    #[error("an event with words missing")]
    WordMissing,
    /// A descriptor larger than [`MAX_CONTENT_BYTES`], which tor itself would not have accepted.
    #[error("a descriptor of more than {MAX_CONTENT_BYTES} bytes")]
    LargeContent,
    /// An `HS_DESC_CONTENT` event without its data block.
    #[error("an event without its data")]
    DataMissing,
}

/// Reads one event. `reply` must be one ([`Reply::is_event`]).
pub fn parse(mut reply: Reply) -> Result<TorEvent, EventError> {
    let data = reply.lines.first_mut().and_then(|line| line.data.take());
    let mut arguments = words(reply.text()).take(MAX_WORDS);
    let keyword = arguments.next().ok_or(EventError::WordMissing)?;
    Ok(match keyword {
        "HS_DESC" => TorEvent::HsDesc(parse_hs_desc(arguments)?),
        "HS_DESC_CONTENT" => TorEvent::HsDescContent(parse_content(arguments, data)?),
        "CIRC" => TorEvent::Circ(parse_circuit(arguments)?),
        "CIRC_MINOR" => TorEvent::CircMinor(parse_circuit(arguments)?),
        "NEWCONSENSUS" => TorEvent::NewConsensus,
        "STATUS_CLIENT" => TorEvent::StatusClient(parse_status(arguments)?),
        "STATUS_GENERAL" => TorEvent::StatusGeneral(parse_status(arguments)?),
        "NETWORK_LIVENESS" => {
            TorEvent::NetworkLiveness { up: arguments.next().ok_or(EventError::WordMissing)? == "UP" }
        }
        "BW" => {
            let read = arguments.next().and_then(|bytes| bytes.parse().ok());
            TorEvent::Bandwidth { read: read.ok_or(EventError::WordMissing)? }
        }
        other => TorEvent::Other { keyword: other.to_owned() },
    })
}

/// Reads one line of `GETINFO circuit-status` (control-spec 3.9), which has the form of a `CIRC` event.
pub fn circuit(line: &str) -> Result<CircuitEvent, EventError> {
    parse_circuit(words(line).take(MAX_WORDS))
}

/// `action address auth-type HsDir [descriptor id] [REASON=…] …`.
fn parse_hs_desc<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<HsDescEvent, EventError> {
    let (positional, keywords) = split_arguments(arguments);
    let [action, address, _auth_type, hsdir, rest @ ..] = positional.as_slice() else {
        return Err(EventError::WordMissing);
    };
    Ok(HsDescEvent {
        action: match *action {
            "REQUESTED" => HsDescAction::Requested,
            "UPLOAD" => HsDescAction::Upload,
            "RECEIVED" => HsDescAction::Received,
            "UPLOADED" => HsDescAction::Uploaded,
            "IGNORE" => HsDescAction::Ignore,
            "FAILED" => HsDescAction::Failed,
            "CREATED" => HsDescAction::Created,
            other => HsDescAction::Other(other.to_owned()),
        },
        address: HsId::from_address(address).ok(),
        fingerprint: relay_name::parse(hsdir),
        blinded: rest.first().and_then(|word| parse_blinded(word)),
        reason: value_of(&keywords, "REASON").map(|reason| match reason {
            "BAD_DESC" => HsDescFailure::BadDesc,
            "QUERY_REJECTED" => HsDescFailure::QueryRejected,
            "UPLOAD_REJECTED" => HsDescFailure::UploadRejected,
            "NOT_FOUND" => HsDescFailure::NotFound,
            "UNEXPECTED" => HsDescFailure::Unexpected,
            "QUERY_NO_HSDIR" => HsDescFailure::QueryNoHsDir,
            "QUERY_RATE_LIMITED" => HsDescFailure::QueryRateLimited,
            other => HsDescFailure::Other(other.to_owned()),
        }),
    })
}

/// `address descriptor-id HsDir` and the data block.
fn parse_content<'a>(
    mut arguments: impl Iterator<Item = &'a str>,
    data: Option<String>,
) -> Result<HsDescContent, EventError> {
    let mut word = || arguments.next().ok_or(EventError::WordMissing);
    let (address, blinded, hsdir) = (word()?, word()?, word()?);
    let text = data.ok_or(EventError::DataMissing)?;
    if text.len() > MAX_CONTENT_BYTES {
        return Err(EventError::LargeContent);
    }
    Ok(HsDescContent {
        address: HsId::from_address(address).ok(),
        blinded: parse_blinded(blinded),
        fingerprint: relay_name::parse(hsdir),
        // Tor ends even an empty block with a line end.
        text: if text.trim().is_empty() { String::new() } else { text },
    })
}

/// `id change [path] KEYWORD=…`.
fn parse_circuit<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<CircuitEvent, EventError> {
    let (positional, keywords) = split_arguments(arguments);
    let [id, change, rest @ ..] = positional.as_slice() else {
        return Err(EventError::WordMissing);
    };
    let text = |key| value_of(&keywords, key).map(str::to_owned);
    Ok(CircuitEvent {
        id: (*id).to_owned(),
        change: (*change).to_owned(),
        path: rest
            .first()
            .map_or_else(Vec::new, |path| path.split(',').filter_map(relay_name::parse).collect()),
        purpose: text("PURPOSE"),
        hs_state: text("HS_STATE"),
        rend_query: value_of(&keywords, "REND_QUERY").and_then(|address| HsId::from_address(address).ok()),
        reason: text("REASON"),
        remote_reason: text("REMOTE_REASON"),
        old_purpose: text("OLD_PURPOSE"),
        old_hs_state: text("OLD_HS_STATE"),
    })
}

/// `severity action KEYWORD=…`.
fn parse_status<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<StatusEvent, EventError> {
    let (positional, keywords) = split_arguments(arguments);
    let [severity, action, ..] = positional.as_slice() else {
        return Err(EventError::WordMissing);
    };
    Ok(StatusEvent {
        severity: (*severity).to_owned(),
        action: (*action).to_owned(),
        arguments: keywords.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    })
}

/// Words by position, and keyword arguments.
type Arguments<'a> = (Vec<&'a str>, Vec<(&'a str, &'a str)>);

/// Tells words by position and keyword arguments apart.
fn split_arguments<'a>(arguments: impl Iterator<Item = &'a str>) -> Arguments<'a> {
    let (mut positional, mut keywords) = (Vec::new(), Vec::new());
    for word in arguments {
        match keyword_argument(word) {
            Some(pair) => keywords.push(pair),
            None => positional.push(word),
        }
    }
    (positional, keywords)
}

/// The value of a keyword argument.
fn value_of<'a>(keywords: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    keywords.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

/// The blinded key in an event: base 64 without padding.
fn parse_blinded(word: &str) -> Option<HsBlindId> {
    let bytes = data_encoding::BASE64_NOPAD.decode(word.as_bytes()).ok()?;
    Some(HsBlindId(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::reply::ReplyDecoder;

    /// Names in the lines below, which tor 0.4.9.11 wrote on a private network.
    const SERVICE: &str = "kzd7or7iphuw4fcfuincmyjvjl4tiru7b36oe2whwtjxtoww7x7gxnyd";
    const BLINDED: &str = "7+rGG81qW2L2VaT/bVty4Bw1s18ot1gKi1C2AA/1aNY";
    const A2: &str = "$A0279BD64C35DBBC0EBB9F9F6CDAF327AEA18A96~a2";
    const A3: &str = "$8DC8EA9B5869B09B49E96EC5E6AC856E308B7A48~a3";

    fn read(text: &str) -> Result<TorEvent, EventError> {
        let bytes = format!("{text}\r\n");
        parse(ReplyDecoder::new().decode(&mut bytes.as_bytes()).unwrap().unwrap())
    }

    fn hs_desc(text: &str) -> HsDescEvent {
        match read(&format!("650 HS_DESC {text}")).unwrap() {
            TorEvent::HsDesc(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn descriptors_are_made_sent_and_fetched() {
        let created = hs_desc(&format!("CREATED {SERVICE} UNKNOWN UNKNOWN {BLINDED}"));
        assert_eq!(created.action, HsDescAction::Created);
        assert_eq!(created.address.unwrap().service_id(), SERVICE);
        assert_eq!(created.fingerprint, None);
        assert_eq!(created.blinded.unwrap().0[..3], [0xef, 0xea, 0xc6]);

        let uploaded = hs_desc(&format!("UPLOADED {SERVICE} UNKNOWN {A2}"));
        assert_eq!((uploaded.action, uploaded.blinded), (HsDescAction::Uploaded, None));
        assert_eq!(uploaded.fingerprint, relay_name::parse(A2));

        let requested =
            hs_desc(&format!("REQUESTED {SERVICE} NO_AUTH {A2} {BLINDED} HSDIR_INDEX={}", "41".repeat(32)));
        assert_eq!((requested.action, requested.blinded), (HsDescAction::Requested, created.blinded));

        let unknown = hs_desc("RECEIVED UNKNOWN NO_AUTH UNKNOWN");
        assert_eq!((unknown.address, unknown.fingerprint, unknown.reason), (None, None, None));
        assert_eq!(hs_desc("LATER a b c").action, HsDescAction::Other("LATER".into()));
    }

    #[test]
    fn failures_have_their_reason() {
        for (word, reason) in [
            ("BAD_DESC", HsDescFailure::BadDesc),
            ("QUERY_REJECTED", HsDescFailure::QueryRejected),
            ("UPLOAD_REJECTED", HsDescFailure::UploadRejected),
            ("NOT_FOUND", HsDescFailure::NotFound),
            ("UNEXPECTED", HsDescFailure::Unexpected),
            ("QUERY_NO_HSDIR", HsDescFailure::QueryNoHsDir),
            ("QUERY_RATE_LIMITED", HsDescFailure::QueryRateLimited),
            ("LATER", HsDescFailure::Other("LATER".into())),
        ] {
            // Tor writes the id also for failed uploads, in spite of its own comment; and two spaces.
            let failed = hs_desc(&format!("FAILED {SERVICE} NO_AUTH {A2}  {BLINDED} REASON={word}"));
            assert_eq!((failed.action, failed.reason), (HsDescAction::Failed, Some(reason)));
            assert!(failed.blinded.is_some());
        }
    }

    #[test]
    fn content_comes_whole_or_empty() {
        let head = format!("650+HS_DESC_CONTENT {SERVICE} {BLINDED} {A2}");
        for (body, text) in [("hs-descriptor 3\r\n..\r\n", "hs-descriptor 3\n.\n"), ("", ""), ("\r\n", "")] {
            let TorEvent::HsDescContent(content) = read(&format!("{head}\r\n{body}.\r\n650 OK")).unwrap()
            else {
                panic!()
            };
            assert_eq!(content.text, text);
            assert_eq!(content.address.unwrap().service_id(), SERVICE);
            assert_eq!(content.fingerprint, relay_name::parse(A2));
            assert!(content.blinded.is_some());
        }
        let large = format!("{head}\r\n{}.\r\n650 OK", "x\r\n".repeat(MAX_CONTENT_BYTES / 2 + 1));
        assert_eq!(read(&large), Err(EventError::LargeContent));
        assert_eq!(read(&format!("650 HS_DESC_CONTENT {SERVICE} x y")), Err(EventError::DataMissing));
    }

    #[test]
    fn introduction_circuits_come_and_go() {
        let established = format!(
            "650 CIRC_MINOR 51 PURPOSE_CHANGED {A3},{A2} BUILD_FLAGS=IS_INTERNAL,NEED_UPTIME \
             PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED REND_QUERY={SERVICE} \
             TIME_CREATED=2026-11-23T17:12:39.688715 OLD_PURPOSE=HS_SERVICE_INTRO OLD_HS_STATE=HSSI_CONNECTING"
        );
        let TorEvent::CircMinor(circuit) = read(&established).unwrap() else { panic!() };
        assert_eq!((circuit.id.as_str(), circuit.change.as_str()), ("51", "PURPOSE_CHANGED"));
        assert_eq!(circuit.path, [relay_name::parse(A3).unwrap(), relay_name::parse(A2).unwrap()]);
        assert_eq!(circuit.purpose.as_deref(), Some("HS_SERVICE_INTRO"));
        assert_eq!(circuit.hs_state.as_deref(), Some("HSSI_ESTABLISHED"));
        assert_eq!(circuit.old_purpose.as_deref(), Some("HS_SERVICE_INTRO"));
        assert_eq!(circuit.old_hs_state.as_deref(), Some("HSSI_CONNECTING"));
        assert_eq!(circuit.rend_query.unwrap().service_id(), SERVICE);

        let closed = "650 CIRC 51 CLOSED PURPOSE=HS_SERVICE_INTRO REASON=DESTROYED REMOTE_REASON=CHANNEL_CLOSED \
                      SOCKS_USERNAME=\"a REASON=b\" SOCKS_PASSWORD=\"secret\"";
        let TorEvent::Circ(circuit) = read(closed).unwrap() else { panic!() };
        assert_eq!(circuit.change, "CLOSED");
        assert!(circuit.path.is_empty());
        assert_eq!(circuit.reason.as_deref(), Some("DESTROYED"));
        assert_eq!(circuit.remote_reason.as_deref(), Some("CHANNEL_CLOSED"));
        assert!(!format!("{circuit:?}").contains("secret"), "what applications told tor is not kept");
    }

    #[test]
    fn the_state_of_tor_is_told() {
        let TorEvent::StatusClient(status) =
            read("650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=0 SUMMARY=\"Starting up\"").unwrap()
        else {
            panic!()
        };
        assert_eq!((status.severity.as_str(), status.action.as_str()), ("NOTICE", "BOOTSTRAP"));
        assert_eq!(status.arguments[1], ("SUMMARY".to_owned(), "\"Starting up\"".to_owned()));
        assert!(matches!(
            read("650 STATUS_GENERAL WARN CLOCK_SKEW SKEW=3600 SOURCE=CONSENSUS").unwrap(),
            TorEvent::StatusGeneral(_)
        ));
        assert_eq!(read("650 NETWORK_LIVENESS UP").unwrap(), TorEvent::NetworkLiveness { up: true });
        assert_eq!(read("650 NETWORK_LIVENESS DOWN").unwrap(), TorEvent::NetworkLiveness { up: false });
        assert_eq!(read("650+NEWCONSENSUS\r\nr x\r\n.\r\n650 OK").unwrap(), TorEvent::NewConsensus);
    }

    #[test]
    fn words_that_are_missing_are_missed() {
        for text in [
            "650 ",
            "650 HS_DESC CREATED x UNKNOWN",
            "650 CIRC 7",
            "650 STATUS_CLIENT NOTICE",
            "650 NETWORK_LIVENESS",
        ] {
            assert_eq!(read(text), Err(EventError::WordMissing), "{text}");
        }
    }
}
