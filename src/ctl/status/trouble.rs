//! What an operator should look at, in words.

use crate::ctl::names::names;
use crate::ctl::status::report::Report;
use crate::ipc::coordinator::CoordinatorStatus;
use crate::ipc::proxy::ProxyStatus;
use crate::proto::cluster::status::{ClusterStatus, NodeStatus};
use crate::proto::publish::report::{Alarm, Duty, PublisherReport, TorState};

/// All that is wrong, as far as this node knows. Empty when all is well.
pub fn troubles(report: &Report) -> Vec<String> {
    let mut troubles = Vec::new();
    if let Some(coordinator) = &report.coordinator {
        match &coordinator.joining {
            Some(joining) if joining.failed_tries >= joining.attempts => troubles.push(joining.to_string()),
            // What it does not know yet is no trouble.
            Some(_) => {}
            None => of_the_cluster(&coordinator.cluster, &mut troubles),
        }
        of_the_mesh(coordinator, &mut troubles);
    }
    if let Some(publisher) = &report.publisher {
        of_the_publisher(publisher, &mut troubles);
    }
    if let Some(proxy) = &report.proxy {
        of_the_proxy(proxy, &mut troubles);
    }
    troubles.extend(report.silent.iter().map(|silent| silent.reason.clone()));
    troubles
}

fn of_the_cluster(cluster: &ClusterStatus, troubles: &mut Vec<String>) {
    if cluster.holder.is_none() && !cluster.discovering {
        troubles.push("nobody holds the lease, so nobody publishes the descriptor".to_owned());
    }
    let holders: Vec<&NodeStatus> = cluster.nodes.iter().filter(|node| node.lease_epoch.is_some()).collect();
    if holders.len() > 1 {
        troubles.push(format!(
            "{} hold the lease at once; that is harmless, and ends when they reach each other",
            names(holders.iter().map(|node| &node.node))
        ));
    }
    for (node, ailment) in cluster.nodes.iter().filter_map(|node| Some((&node.node, node.stands_back?))) {
        troubles.push(format!(
            "{node} stands back from the lease, for others that can publish: {ailment}, or was so until lately"
        ));
    }
    let newest = cluster.nodes.iter().filter_map(|node| node.token).max();
    let behind = cluster.nodes.iter().filter(|node| node.token.is_some() && node.token < newest);
    let behind = names(behind.map(|node| &node.node));
    if !behind.is_empty() {
        troubles.push(format!("not yet on the newest cluster token: {behind}"));
    }
}

fn of_the_mesh(coordinator: &CoordinatorStatus, troubles: &mut Vec<String>) {
    let mesh = &coordinator.mesh;
    if mesh.refused_for_clock > 0 {
        troubles.push(format!(
            "{} datagrams were refused since the start because their sender's clock was more than 5 s away from this \
             node's; look after the time service (NTP) of all nodes",
            mesh.refused_for_clock
        ));
    }
    if mesh.refused_for_address > 0 {
        troubles.push(format!(
            "{} datagrams came from another tunnel address than their sender's; does a node have another's key?",
            mesh.refused_for_address
        ));
    }
}

fn of_the_publisher(publisher: &PublisherReport, troubles: &mut Vec<String>) {
    if publisher.serving_tor == TorState::Away {
        troubles.push("the tor that serves does not answer on its control port".to_owned());
    }
    if publisher.duty == Duty::Yielded {
        troubles.push(
            "the publisher met another one's descriptor while the coordinator was away; it waits for an order".to_owned(),
        );
    }
    troubles.extend(publisher.alarms.iter().map(|alarm| in_words(*alarm).to_owned()));
}

fn of_the_proxy(proxy: &ProxyStatus, troubles: &mut Vec<String>) {
    if !proxy.target_well {
        let which = if proxy.targets.len() > 1 { "none of the targets can" } else { "the target cannot" };
        troubles.push(format!("{which} be reached from this node"));
        return;
    }
    for target in proxy.targets.iter().filter(|target| !target.well) {
        let why = target.trouble.map(|reason| format!(": {reason}")).unwrap_or_default();
        troubles.push(format!("{} gets no connections{why}; the other targets get its share", target.target));
    }
}

fn in_words(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoNetwork => "neither tor has a usable view of the network, so nothing can be posted",
        Alarm::NothingToPublish => {
            "there has been no introduction point to publish for more than two minutes"
        }
        Alarm::AllPointsGone => "all introduction points are gone; the last descriptor is kept",
        Alarm::HsDirsBehind => "some HSDirs have not accepted the present descriptor for more than a minute",
        Alarm::Nowhere => {
            "no HSDir has accepted the present descriptor for 3 minutes; this node seems cut off from them"
        }
        Alarm::Stale => "one of the descriptors has not been accepted by any HSDir for 15 minutes",
        Alarm::Unreadable => "an HSDir accepted a descriptor that tor, as a client, refuses",
        Alarm::OwnDescriptorUnreadable => "the service's own descriptor cannot be read from the serving tor",
        Alarm::NotBuilt => "a descriptor could not be built, or tor refused it",
    }
}
