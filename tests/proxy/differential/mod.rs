//! HTTP mode beside nginx as a reverse proxy: the same bytes to both, the same target behind both, and both have to do the
//! same, but for what the tables list with its reason.
//!
//! Behind each case comes one more request, so that it shows where each of the two saw the end of the case: a request
//! that one proxy reads as part of a body, and the other one as a request, is what smuggling is made of.

mod nginx;
mod outcome;
mod requests;
mod responses;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::nginx::Nginx;
use self::outcome::Outcome;
use crate::LONG;
use crate::peer::{Message, Reply, Target};
use crate::supervisor::{Daemon, Scene};

/// What the client calls the onion service in all cases.
const PUBLIC: &str = "a.example";
/// The request behind each case.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
/// What the target answers to it, and to every request in whose case the response does not matter.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Target: 1\r\n\r\nok";
/// Stands in the tables for the target's own name.
const OWN: &str = "§";
/// Pairs of proxies that work through a table side by side.
const STAGES: usize = 6;

/// What is expected of us, beside nginx.
#[derive(Clone, Copy)]
enum Verdict {
    /// Both do the same.
    Same,
    /// We refuse with this status, nothing of it reaches the target, and nginx does something else: why.
    Refused(u16, &'static str),
    /// The target gets what it shall get, or the client, and nginx does something else: why.
    Differs(&'static str),
}

/// One row of a table.
#[derive(Clone)]
struct Case {
    request: String,
    response: String,
    /// Whether the response ends with the target's connection.
    closes: bool,
    verdict: Verdict,
}

/// Both proxies in front of one target.
struct Stage {
    target: Target,
    /// What the target says, and whether it closes then.
    says: Arc<Mutex<(String, bool)>>,
    nginx: Nginx,
    scene: Scene,
    _daemon: Daemon,
}

impl Stage {
    async fn new() -> Self {
        let says = Arc::new(Mutex::new((OK.to_owned(), false)));
        let said = Arc::clone(&says);
        let target = Target::new(move |asked| reply(asked, &said.lock().unwrap())).await;
        let nginx = Nginx::start(target.address);
        let scene = Scene::new(&target.section());
        let daemon = scene.start();
        Self { target, says, nginx, scene, _daemon: daemon }
    }

    /// What is wrong with how the two carry this.
    async fn play(&mut self, case: &Case) -> Option<String> {
        let own = self.target.address.to_string();
        *self.says.lock().unwrap() = (case.response.replace(OWN, &own), case.closes);
        let ours = self.ask(self.scene.address(), &case.request).await;
        let theirs = self.ask(self.nginx.address, &case.request).await;
        let (fits, expected) = match case.verdict {
            Verdict::Same => (ours == theirs, "both do the same".to_owned()),
            Verdict::Refused(status, why) => {
                (ours.is_refused(status) && ours != theirs, format!("refused with {status}: {why}"))
            }
            Verdict::Differs(why) => (ours != theirs, format!("both differ: {why}")),
        };
        let (request, response) = (&case.request, &case.response);
        (!fits).then(|| {
            format!("{request:?}\n{response:?}\n  {expected}\n  we:    {ours:?}\n  nginx: {theirs:?}\n")
        })
    }

    async fn ask(&mut self, proxy: SocketAddr, request: &str) -> Outcome {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // A proxy that has refused may have closed before it got everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.write_all(LAST.as_bytes()).await;
        let mut answers = Vec::new();
        let ended = timeout(LONG, stream.read_to_end(&mut answers)).await.is_ok();
        drop(stream);
        let own = self.target.address.to_string();
        Outcome::new(&answers, ended, request.starts_with("HEAD "), self.target.all_asked(), &own)
    }
}

fn reply(asked: &Message, (response, closes): &(String, bool)) -> Reply {
    if asked.first_line().contains(" /last ") {
        Reply::Send(OK.into())
    } else if *closes {
        Reply::Last(response.clone().into_bytes())
    } else {
        Reply::Send(response.clone().into_bytes())
    }
}

/// Plays all cases; those that do not come out as the table says are shown, all of them.
async fn play(cases: Vec<Case>) {
    let share = cases.len().div_ceil(STAGES);
    let parts: Vec<_> = cases.chunks(share).map(<[Case]>::to_vec).collect();
    let running = parts.into_iter().map(|part| {
        tokio::spawn(async move {
            let mut stage = Stage::new().await;
            let mut wrong = Vec::new();
            for case in &part {
                wrong.extend(stage.play(case).await);
            }
            wrong
        })
    });
    let mut wrong = Vec::new();
    for part in running.collect::<Vec<_>>() {
        wrong.extend(part.await.unwrap());
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_carried_as_nginx_carries_them() {
    play(requests::cases()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_carried_as_nginx_carries_them() {
    play(responses::cases()).await;
}

#[test]
fn there_are_more_than_two_hundred_cases_each_there_once() {
    let cases = [requests::cases(), responses::cases()].concat();
    let different: std::collections::BTreeSet<_> =
        cases.iter().map(|case| (&case.request, &case.response)).collect();
    assert_eq!(different.len(), cases.len());
    assert!(cases.len() >= 200, "{}", cases.len());
}
