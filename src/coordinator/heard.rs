//! What the node's other daemons say, in the core's words.

use super::link::News;
use super::serve::Coordinator;
use crate::ipc::proxy::ProxyStatus;
use crate::proto::cluster::events::Event;
use crate::proto::cluster::fitness::Ailment;
use crate::proto::publish::report::{Alarm, PublisherReport};

impl Coordinator {
    pub(super) fn heard_publisher(&mut self, news: News<PublisherReport>) {
        match news {
            News::Found => self.happen(Event::PublisherFound),
            News::Lost => self.happen(Event::PublisherLost),
            // The core has a patience of its own with it.
            News::Away => {}
            News::Report(report) => {
                let PublisherReport { points, capabilities, counters, published, alarms, .. } = *report;
                self.happen(Event::PublisherSpoke(ailment(&alarms)));
                self.happen(Event::OwnCounters(counters));
                self.happen(Event::Published(published));
                // Without capabilities it has not read its own descriptor yet, and no points means nothing.
                if let Some(capabilities) = capabilities {
                    self.happen(Event::OwnCapabilities(capabilities));
                    self.happen(Event::OwnPoints(points));
                }
            }
        }
    }

    pub(super) fn heard_proxy(&mut self, news: News<ProxyStatus>) {
        match news {
            News::Found => {}
            News::Report(status) => {
                self.happen(Event::TargetWell(status.target_well));
                self.happen(Event::Connections(status.active));
            }
            News::Lost => self.happen(Event::Connections(0)),
            // Whatever reaches this node gets nowhere.
            News::Away => self.happen(Event::TargetWell(false)),
        }
    }
}

/// What of a publisher's alarms keeps it from publishing. The others are about this node's own points, or about few HSDirs:
/// another node would do no better.
pub fn ailment(alarms: &[Alarm]) -> Option<Ailment> {
    let ailments = alarms.iter().filter_map(|alarm| match alarm {
        Alarm::NoNetwork => Some(Ailment::NoNetwork),
        Alarm::Nowhere | Alarm::Stale => Some(Ailment::NotAccepted),
        Alarm::NotBuilt | Alarm::Unreadable => Some(Ailment::NotMade),
        Alarm::NothingToPublish
        | Alarm::AllPointsGone
        | Alarm::HsDirsBehind
        | Alarm::OwnDescriptorUnreadable => None,
    });
    // One of them is enough, and the first one may explain the others.
    ailments.into_iter().next()
}
