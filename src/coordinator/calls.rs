//! Answering those who call: what this node knows, and what the operator wishes.

use std::time::Instant;

use super::canary::CanaryLine;
use super::serve::Coordinator;
use crate::ipc::call::{Responder, Taken};
use crate::ipc::coordinator::{Checked, CoordinatorCall, CoordinatorStatus, DrainWish, MeshStatus, Rotated};
use crate::proto::cluster::events::Event;
use crate::proto::cluster::note::Drain;
use crate::proto::node::NodeId;
use crate::sys::clock::unix_ms;

impl Coordinator {
    pub(super) fn answer(&mut self, call: CoordinatorCall) {
        match call {
            CoordinatorCall::Status(reply) => reply.answer(&self.describe()),
            CoordinatorCall::CheckSecret { digest, reply } => {
                reply.answer(&Checked { ours: self.door.knows(digest) });
            }
            CoordinatorCall::Join { body, reply } => {
                if let Some((number, admission)) = self.door.knock(Instant::now(), unix_ms(), &body, reply) {
                    self.happen(Event::Admit { number, admission });
                }
            }
            CoordinatorCall::Drain { wish, reply } => self.drain(wish, reply),
            CoordinatorCall::RotateToken(reply) => self.rotate(reply),
            CoordinatorCall::Leave(reply) => {
                self.happen(Event::Leave);
                reply.answer(&Taken {});
            }
        }
    }

    /// A wish about a node that nobody knows would wait for ever.
    fn drain(&mut self, wish: DrainWish, reply: Responder<Taken>) {
        let status = self.core.status(Instant::now());
        let DrainWish { node, draining, deadline_secs, after } = wish;
        let (by, node) = (status.node.clone(), node.unwrap_or_else(|| status.node.clone()));
        let named = [Some(&node), after.as_ref()].into_iter().flatten();
        let known = |name: &NodeId| status.nodes.iter().any(|known| known.node == *name);
        let unknown = named.into_iter().find(|name| !known(name));
        if let Some(unknown) = unknown {
            return reply.refuse(&format!("there is no node {unknown} in the cluster"));
        }
        if after.as_ref() == Some(&node) {
            return reply.refuse("a node cannot take its own place");
        }
        self.happen(Event::Drain(Drain { node, draining, at_ms: unix_ms(), by, deadline_secs, after }));
        reply.answer(&Taken {});
    }

    fn rotate(&mut self, reply: Responder<Rotated>) {
        let rotation = match self.keyring.rotate(&mut rand::rng(), unix_ms()) {
            Ok(rotation) => rotation,
            Err(error) => return reply.refuse(&error.to_string()),
        };
        let token = rotation.token;
        self.happen(Event::RotateToken { rotation });
        if self.keyring.newest().0 == token {
            reply.answer(&Rotated { token });
        } else {
            reply.refuse("another token was made at the same time; look at the status, and try again");
        }
    }

    fn describe(&self) -> CoordinatorStatus {
        let opened = self.lines.socket.counters();
        let mesh = MeshStatus {
            accepted: opened.accepted,
            refused: opened.refused(),
            refused_for_clock: opened.clock,
            refused_for_address: self.refused_for_address,
            clock_ahead_ms: self.clocks.ahead_ms(Instant::now()),
            unsent: self.unsent,
            tunnels: self.lines.tunnels.borrow().clone(),
            ..self.facts.mesh()
        };
        let canary = self.lines.canary.as_ref().map(CanaryLine::status);
        CoordinatorStatus { joining: None, cluster: self.core.status(Instant::now()), mesh, canary }
    }
}
