//! The connection to one tor: kept up for ever, its events put into the words of the core.

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::proto::onion::address::HsId;
use crate::proto::publish::event::Event;
use crate::proto::publish::exchange::HsDirAnswer;
use crate::proto::publish::intro_circuit::{IntroCircuit, IntroCircuits};
use crate::proto::publish::uplink::TorRole;
use crate::publisher::identity::check_read_back;
use crate::sys::clock::unix_secs;
use crate::tor::controller::Controller;
use crate::tor::destroys::Destroys;
use crate::tor::event::{
    CircuitEvent, EventKind, HsDescAction, HsDescContent, HsDescEvent, HsDescFailure, TorEvent,
};
use crate::tor::pulse::Pulse;
use crate::tor::reconnect::Reconnector;

/// All that is asked for at a tor; both tors get the same, as each may do the other's work.
const EVENTS: [EventKind; 7] = [
    EventKind::HsDesc,
    EventKind::HsDescContent,
    EventKind::Circ,
    EventKind::CircMinor,
    EventKind::NewConsensus,
    EventKind::StatusClient,
    EventKind::Bandwidth,
];

/// A message to the main loop.
#[derive(Debug)]
pub enum Message {
    /// A tor is there, and can be given commands.
    Up(TorRole, Controller),
    /// Something happened.
    Event(Box<Event>),
}

/// Keeps one connection up until the main loop is gone.
pub async fn keep(role: TorRole, service: HsId, mut tor: Reconnector, to: mpsc::Sender<Message>) {
    loop {
        let (controller, mut events) = tor.next().await;
        if let Err(error) = controller.setevents(&EVENTS).await {
            warn!(address = %tor.address(), %error, "tor does not tell its events; connecting again");
            continue;
        }
        let mut pulse = Pulse::of(&controller).await;
        let mut destroys = Destroys::default();
        if to.send(Message::Up(role, controller.clone())).await.is_err() {
            return;
        }
        while let Some(event) = events.recv().await {
            destroys.push(&controller, &event);
            let message = if pulse.feel(&controller, &event) {
                Some(of_pulse(role, &pulse, &controller))
            } else if pulse.hears() || matches!(event, TorEvent::Closed { .. }) {
                translate(role, service, event).map(|event| Message::Event(Box::new(event)))
            } else {
                None
            };
            if let Some(message) = message
                && to.send(message).await.is_err()
            {
                return;
            }
        }
    }
}

/// A tor that hears nothing is of no use, whatever it believes: to the core it is gone, and comes back when it hears again.
fn of_pulse(role: TorRole, pulse: &Pulse, tor: &Controller) -> Message {
    if pulse.hears() {
        info!(?role, "tor hears the network again");
        Message::Up(role, tor.clone())
    } else {
        warn!(?role, "nothing comes to this tor from the network; until something does it counts as gone");
        Message::Event(Box::new(Event::TorDown(role)))
    }
}

/// Puts an event of tor into the words of the core; `None` if it does not concern this service.
fn translate(role: TorRole, service: HsId, event: TorEvent) -> Option<Event> {
    let event = match event {
        TorEvent::HsDesc(event) if event.address == Some(service) => return descriptor(role, &event),
        TorEvent::HsDescContent(content) if content.address == Some(service) => {
            return read_back(role, &content);
        }
        TorEvent::Circ(event) | TorEvent::CircMinor(event) if event.rend_query == Some(service) => {
            return circuit(role, &event);
        }
        TorEvent::NewConsensus => Event::NewConsensus(role),
        TorEvent::StatusClient(status) if status.action == "ENOUGH_DIR_INFO" => Event::NewConsensus(role),
        TorEvent::Missed { count } => {
            warn!(?role, count, "events of tor were lost; reading everything anew");
            Event::EventsMissed(role)
        }
        TorEvent::Closed { reason } => {
            warn!(?role, %reason, "tor is gone");
            Event::TorDown(role)
        }
        _ => return None,
    };
    Some(event)
}

fn descriptor(role: TorRole, event: &HsDescEvent) -> Option<Event> {
    let answer = match (&event.action, &event.reason) {
        (HsDescAction::Created, _) => return (role == TorRole::Serving).then_some(Event::Created),
        (HsDescAction::Uploaded, _) => HsDirAnswer::Uploaded,
        (HsDescAction::Failed, Some(HsDescFailure::UploadRejected)) => HsDirAnswer::Rejected,
        (HsDescAction::Failed, Some(HsDescFailure::NotFound)) => HsDirAnswer::NotFound,
        (HsDescAction::Failed, Some(HsDescFailure::BadDesc)) => HsDirAnswer::Unreadable,
        (HsDescAction::Failed, _) => HsDirAnswer::Failed,
        (_, _) => return None,
    };
    debug!(?role, ?event, "an HSDir answered");
    Some(Event::Answer(role, event.fingerprint?, event.blinded, answer))
}

fn read_back(role: TorRole, content: &HsDescContent) -> Option<Event> {
    if content.text.is_empty() {
        // The HS_DESC event says why.
        return None;
    }
    let hsdir = content.fingerprint?;
    Some(match check_read_back(&content.text, unix_secs()) {
        Ok((blinded, counter)) => Event::ReadBack(role, hsdir, blinded, counter),
        Err(error) => {
            warn!(%error, "an HSDir gave back a descriptor that clients would refuse");
            Event::Answer(role, hsdir, content.blinded, HsDirAnswer::Unreadable)
        }
    })
}

/// The introduction circuits of the service among these.
pub(super) fn introduction_circuits(circuits: Vec<CircuitEvent>, service: HsId) -> IntroCircuits {
    let mut ours = IntroCircuits::default();
    for circuit in circuits {
        if circuit.rend_query == Some(service) && circuit.is_introduction() {
            let kind = if circuit.introduces() { &mut ours.established } else { &mut ours.building };
            kind.push(IntroCircuit { id: circuit.id, path: circuit.path });
        }
    }
    ours
}

fn circuit(role: TorRole, event: &CircuitEvent) -> Option<Event> {
    if !event.is_introduction() || role != TorRole::Serving {
        return None;
    }
    let circuit = IntroCircuit { id: event.id.clone(), path: event.path.clone() };
    match event.change.as_str() {
        "CLOSED" | "FAILED" => event.introduces().then_some(Event::IntroClosed(circuit)),
        "PURPOSE_CHANGED" if event.introduces() => Some(Event::IntroEstablished(circuit)),
        _ => Some(Event::IntroBuilding(circuit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::event::parse;
    use crate::tor::reply::ReplyDecoder;

    const SERVICE: &str = "kzd7or7iphuw4fcfuincmyjvjl4tiru7b36oe2whwtjxtoww7x7gxnyd";
    const OTHER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad";
    const HSDIR: &str = "$A0279BD64C35DBBC0EBB9F9F6CDAF327AEA18A96~a2";

    /// What the core hears when this tor says so; `@` stands for the service's address.
    fn heard(role: TorRole, line: &str) -> String {
        let bytes = format!("650 {}\r\n", line.replace('@', SERVICE));
        let event = parse(ReplyDecoder::new().decode(&mut bytes.as_bytes()).unwrap().unwrap()).unwrap();
        let service = HsId::from_address(SERVICE).unwrap();
        format!("{:?}", translate(role, service, event))
    }

    #[test]
    fn the_serving_tors_own_descriptor_and_circuits_are_heard() {
        let intro = "BUILD_FLAGS=IS_INTERNAL PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED REND_QUERY=@";
        let circuit = "IntroCircuit { id: \"9\", path: [[160, 39, 155, 214, 76, 53, 219, 188, 14, 187, 159, 159, 108, 218, \
                       243, 39, 174, 161, 138, 150]] }";
        let lines = [
            (
                "HS_DESC CREATED @ UNKNOWN UNKNOWN 7+rGG81qW2L2VaT/bVty4Bw1s18ot1gKi1C2AA/1aNY",
                "Some(Created)",
            ),
            (
                &format!("CIRC_MINOR 9 PURPOSE_CHANGED {HSDIR} {intro} OLD_HS_STATE=HSSI_CONNECTING"),
                &format!("Some(IntroEstablished({circuit}))"),
            ),
            (
                &format!("CIRC 9 CLOSED {HSDIR} {intro} REASON=FINISHED"),
                &format!("Some(IntroClosed({circuit}))"),
            ),
            (
                &format!("CIRC 9 FAILED {HSDIR} {intro} REASON=TIMEOUT"),
                &format!("Some(IntroClosed({circuit}))"),
            ),
            (
                &format!(
                    "CIRC 9 CLOSED {HSDIR} {} REASON=FINISHED",
                    intro.replace("ESTABLISHED", "CONNECTING")
                ),
                "None",
            ),
            (&format!("CIRC 9 CLOSED {HSDIR} {} REASON=FINISHED", intro.replace("INTRO", "REND")), "None"),
            (&format!("CIRC 9 CLOSED {HSDIR} {} REASON=FINISHED", intro.replace('@', OTHER)), "None"),
            ("CIRC 9 BUILT PURPOSE=GENERAL", "None"),
            (
                &format!("CIRC 9 EXTENDED {}", intro.replace("ESTABLISHED", "CONNECTING")),
                "Some(IntroBuilding(IntroCircuit { id: \"9\", path: [] }))",
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(heard(TorRole::Serving, line), expected, "{line}");
            assert_eq!(heard(TorRole::Standby, line), "None", "{line}");
        }
    }

    #[test]
    fn answers_of_hsdirs_are_heard_by_what_they_mean() {
        let answers = [
            ("UPLOADED @ UNKNOWN", "", "Uploaded"),
            ("FAILED @ NO_AUTH", "REASON=UPLOAD_REJECTED", "Rejected"),
            ("FAILED @ NO_AUTH", "REASON=NOT_FOUND", "NotFound"),
            ("FAILED @ NO_AUTH", "REASON=BAD_DESC", "Unreadable"),
            ("FAILED @ NO_AUTH", "REASON=UNEXPECTED", "Failed"),
            ("FAILED @ NO_AUTH", "REASON=QUERY_REJECTED", "Failed"),
        ];
        for (action, reason, expected) in answers {
            let told = heard(TorRole::Standby, &format!("HS_DESC {action} {HSDIR} {reason}"));
            assert!(
                told.starts_with("Some(Answer(Standby, [160, 39, 155,") && told.contains(expected),
                "{told}"
            );
        }
        assert_eq!(heard(TorRole::Standby, &format!("HS_DESC UPLOADED {OTHER} UNKNOWN {HSDIR}")), "None");
        assert_eq!(heard(TorRole::Standby, "HS_DESC FAILED @ NO_AUTH UNKNOWN REASON=QUERY_NO_HSDIR"), "None");
        assert_eq!(heard(TorRole::Standby, &format!("HS_DESC REQUESTED @ NO_AUTH {HSDIR}")), "None");
    }

    #[test]
    fn a_descriptor_that_is_none_cannot_be_read() {
        let content = |text: &str| HsDescContent {
            address: None,
            blinded: None,
            fingerprint: Some([1; 20]),
            text: text.to_owned(),
        };
        assert!(read_back(TorRole::Standby, &content("")).is_none());
        let told = format!("{:?}", read_back(TorRole::Standby, &content("hs-descriptor 3\n")));
        assert!(told.contains("Unreadable"), "{told}");
    }

    #[test]
    fn news_of_the_network_are_heard() {
        assert_eq!(heard(TorRole::Standby, "NEWCONSENSUS"), "Some(NewConsensus(Standby))");
        let line = "STATUS_CLIENT NOTICE ENOUGH_DIR_INFO";
        assert_eq!(heard(TorRole::Serving, line), "Some(NewConsensus(Serving))");
        assert_eq!(heard(TorRole::Serving, "STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED"), "None");
    }
}
