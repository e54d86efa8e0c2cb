//! The main loop: an event, the core's answer to it, the work that follows.

use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::ipc::call::Taken;
use crate::ipc::publisher::PublisherCall;
use crate::proto::publish::event::Event;
use crate::proto::publish::publication::Publication;
use crate::proto::publish::report::PublisherReport;
use crate::publisher::link::Message;
use crate::publisher::news::{log_changes, status_line};
use crate::publisher::reload::Reload;
use crate::publisher::work::Workshop;
use crate::sys::clock::unix_secs;
use crate::sys::notify::{Keepalive, Notice, notify};
use crate::sys::stop::{Hangup, Stop, until};

/// The running publisher.
#[derive(Debug)]
pub struct Publisher {
    publication: Publication,
    workshop: Workshop,
    messages: mpsc::Receiver<Message>,
    calls: mpsc::Receiver<PublisherCall>,
    /// The latest report; who watches gets it from here, and never makes this loop wait.
    report: watch::Sender<PublisherReport>,
    watched: bool,
    reload: Reload,
    keepalive: Keepalive,
    told: String,
}

impl Publisher {
    /// A publisher that hears nothing until [`Publisher::run`].
    pub fn new(
        publication: Publication,
        workshop: Workshop,
        messages: mpsc::Receiver<Message>,
        calls: mpsc::Receiver<PublisherCall>,
        reload: Reload,
    ) -> Self {
        let report = watch::Sender::new(publication.report());
        let keepalive = Keepalive::from_environment();
        Self {
            publication,
            workshop,
            messages,
            calls,
            report,
            watched: false,
            reload,
            keepalive,
            told: String::new(),
        }
    }

    /// Publishes until told to stop. What is on the HSDirs then stays there.
    pub async fn run(mut self, mut stop: Stop, mut hangup: Hangup) {
        notify(&[Notice::Ready]);
        loop {
            let timeout = self.publication.next_timeout();
            tokio::select! {
                Some(message) = self.messages.recv() => self.hear(message),
                Some(call) = self.calls.recv() => self.answer(call),
                events = self.workshop.next() => events.into_iter().for_each(|event| self.handle(event)),
                () = until(timeout) => self.handle(Event::Timeout),
                () = self.report.closed(), if self.watched => {
                    self.watched = false;
                    self.handle(Event::CoordinatorAway);
                }
                () = self.keepalive.ping() => {}
                () = hangup.heard() => self.take_over(),
                () = stop.wanted() => break,
            }
            self.tell();
        }
        notify(&[Notice::Stopping]);
        tracing::info!("stopped; the descriptors posted so far stay where they are");
    }

    /// Takes a changed configuration over.
    fn take_over(&mut self) {
        notify(&[Notice::Reloading]);
        if let Some(pace) = self.reload.pace() {
            self.handle(Event::Pace(pace));
        }
        notify(&[Notice::Ready]);
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Up(role, controller) => {
                self.workshop.equip(role, controller);
                self.handle(Event::TorUp(role));
            }
            Message::Event(event) => self.handle(*event),
        }
    }

    fn answer(&mut self, call: PublisherCall) {
        match call {
            PublisherCall::Status(reply) => reply.answer(&self.report.borrow()),
            PublisherCall::Watch(watcher) => {
                watcher.follow(self.report.subscribe());
                self.watched = true;
                self.handle(Event::CoordinatorBack);
            }
            PublisherCall::Mute { muted, reply } => {
                self.handle(Event::Mute(muted));
                reply.answer(&Taken {});
            }
            PublisherCall::Publish { order, reply } => {
                self.handle(Event::Order(order));
                reply.answer(&Taken {});
            }
        }
    }

    fn handle(&mut self, event: Event) {
        tracing::trace!(?event, "event");
        let actions = self.publication.handle(Instant::now(), unix_secs(), event);
        self.workshop.perform(actions);
    }

    /// Tells those who watch, the log and the service manager what changed.
    fn tell(&mut self) {
        let report = self.publication.report();
        let changed = self.report.send_if_modified(|latest| {
            let changed = *latest != report;
            if changed {
                log_changes(latest, &report);
                *latest = report;
            }
            changed
        });
        let line = if changed { status_line(&self.report.borrow()) } else { return };
        if line != self.told {
            notify(&[Notice::Status(&line)]);
            self.told = line;
        }
    }
}
