//! The nodes: who is there, who holds the lease, whose introduction points are in the descriptor.

use std::fmt::Write;

use crate::proto::cluster::drain::DrainPhase;
use crate::proto::cluster::status::Lifecycle;
use crate::watchdog::overview::{Cluster, Descriptors, Member, Overview};

/// A table of all nodes.
pub(super) fn write(overview: &Overview, page: &mut String) {
    page.push_str("<h2>Nodes</h2>\n");
    let Some(cluster) = &overview.cluster else {
        page.push_str("<p class=fair>The coordinator of this node does not tell.</p>\n");
        return;
    };
    let _ = writeln!(page, "<p>{}</p>", lease_in_words(cluster));
    page.push_str(
        "<table><tr><th>Node<th>State<th>Lease<th>Introduction points<th>In the descriptor<th>Target\n",
    );
    for member in &cluster.nodes {
        row(member, cluster, overview.descriptors.as_ref(), page);
    }
    page.push_str("</table>\n");
}

fn lease_in_words(cluster: &Cluster) -> String {
    match &cluster.holder {
        _ if cluster.joining => "This node is not in its cluster yet.".to_owned(),
        Some(holder) => format!("{holder} holds the lease, epoch {}, and publishes for all.", cluster.epoch),
        None if cluster.discovering => "It is being found out who is there.".to_owned(),
        None => "Nobody holds the lease.".to_owned(),
    }
}

fn row(member: &Member, cluster: &Cluster, descriptors: Option<&Descriptors>, page: &mut String) {
    let own = if member.node == cluster.node { " (this node)" } else { "" };
    let (tone, state) = state(member);
    let lease = match member.lease_epoch {
        _ if cluster.holder.as_ref() == Some(&member.node) => "holds it".to_owned(),
        Some(epoch) => format!("believes to hold it, epoch {epoch}"),
        None => String::new(),
    };
    let published = match descriptors.and_then(|descriptors| descriptors.points_of(&member.node)) {
        Some(points) => points.to_string(),
        None if member.published => "yes".to_owned(),
        None if cluster.holder.is_some() => "no".to_owned(),
        None => "not known".to_owned(),
    };
    let target = match member.target_well {
        // What it said before it fell silent.
        _ if matches!(member.lifecycle, Lifecycle::Unhealthy | Lifecycle::Dead) => "<td>not known",
        Some(true) => "<td class=good>can be reached",
        Some(false) => "<td class=bad>cannot be reached",
        None => "<td>not known",
    };
    let (node, points) = (&member.node, member.points);
    let _ = writeln!(
        page,
        "<tr><td>{node}{own}<td class={tone}>{state}<td>{lease}<td>{points}<td>{published}{target}"
    );
}

fn state(member: &Member) -> (&'static str, String) {
    let drained = match (member.lifecycle, member.drain) {
        (Lifecycle::Unhealthy | Lifecycle::Dead, _) | (_, None) => "",
        (_, Some(DrainPhase::Draining)) => ": its introduction points are still in use",
        (_, Some(DrainPhase::Muted)) => ": takes no new clients, and carries on with those it has",
        (_, Some(DrainPhase::Drained)) => ": carries nothing any more",
    };
    match member.lifecycle {
        Lifecycle::Joining => ("fair", "joining: has never answered".to_owned()),
        Lifecycle::Initializing if drained.is_empty() => {
            ("fair", "is there, has no introduction points yet".to_owned())
        }
        Lifecycle::Healthy if drained.is_empty() => ("good", "serves".to_owned()),
        Lifecycle::Unhealthy => ("bad", "did not answer lately".to_owned()),
        Lifecycle::Dead => ("bad", "is dead, or has left".to_owned()),
        Lifecycle::Leaving => ("fair", "about to go".to_owned()),
        Lifecycle::Initializing | Lifecycle::Healthy | Lifecycle::Draining => {
            ("fair", format!("drained{drained}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::page::document::tests::overview;

    fn written(overview: &Overview) -> String {
        let mut page = String::new();
        write(overview, &mut page);
        page
    }

    fn row_of<'a>(page: &'a str, node: &str) -> &'a str {
        page.lines().find(|line| line.starts_with(&format!("<tr><td>{node}"))).unwrap()
    }

    #[test]
    fn each_node_has_its_state_the_holder_the_lease_and_its_points() {
        let page = written(&overview());
        assert!(page.contains("alpha holds the lease, epoch 7"), "{page}");
        assert_eq!(
            row_of(&page, "alpha"),
            "<tr><td>alpha (this node)<td class=good>serves<td>holds it<td>3<td>3<td class=good>can be reached"
        );
        assert!(row_of(&page, "beta").contains("<td class=fair>drained: takes no new clients"), "{page}");
        assert!(row_of(&page, "beta").contains("<td>3<td>0<td"), "{page}");
        let lost = row_of(&page, "gamma");
        assert!(
            lost.contains("<td class=bad>did not answer lately") && lost.ends_with("<td>not known"),
            "{page}"
        );
    }

    #[test]
    fn another_publisher_tells_only_whether_a_node_is_in() {
        let mut overview = overview();
        overview.descriptors = None;
        let page = written(&overview);
        assert!(row_of(&page, "alpha").contains("<td>3<td>yes<td"), "{page}");
        assert!(row_of(&page, "gamma").contains("<td>3<td>no<td"), "{page}");
        overview.cluster = None;
        assert!(written(&overview).contains("does not tell"));
    }
}
