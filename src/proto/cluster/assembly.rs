//! A record in pieces, and the pieces put together again.
//!
//! A record has one encoding, so pieces of the same version fit together whoever sent them: what one peer's
//! lost datagram tore, another's repairs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::message::{Label, MAX_PART, MAX_PARTS, Message, Part};
use super::record::{MAX_NODES, NodeRecord};
use crate::proto::node::NodeId;

/// How long an incomplete record may wait before the missing pieces are asked for. Pieces are sent in one
/// burst, so what is later than a round trip's variation is lost.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// How often the missing pieces are asked for before the pieces in hand are thrown away.
pub const ASK_AGAIN_TIMES: u8 = 4;

/// `record` as datagrams. Empty if it is larger than [`MAX_PARTS`] pieces, which its limits exclude.
pub fn split(record: &NodeRecord) -> Vec<Vec<u8>> {
    let Ok(encoded) = postcard::to_stdvec(record) else { return Vec::new() };
    let pieces: Vec<&[u8]> = encoded.chunks(MAX_PART).collect();
    let Some(count) = u8::try_from(pieces.len()).ok().filter(|count| *count <= MAX_PARTS) else {
        return Vec::new();
    };
    (0..count)
        .zip(pieces)
        .filter_map(|(index, bytes)| {
            let label = Label { version: record.version, index, count };
            Message::Part(Part { node: record.node.clone(), label, bytes }).encode().ok()
        })
        .collect()
}

/// Records that are not complete yet: at most one per node, [`MAX_NODES`] of them.
#[derive(Debug, Default)]
pub struct Assemblies(BTreeMap<NodeId, Assembly>);

#[derive(Debug)]
struct Assembly {
    label: Label,
    pieces: BTreeMap<u8, Vec<u8>>,
    /// Who sent the latest piece, and can be asked for the others.
    source: NodeId,
    ask_at: Instant,
    asked: u8,
}

impl Assemblies {
    /// Takes in a piece; the record, if that completed it.
    ///
    /// Pieces of an older version than the one in hand are ignored, and those of a newer one replace it.
    pub fn add(&mut self, now: Instant, from: &NodeId, part: &Part<'_>) -> Option<NodeRecord> {
        let replace = match self.0.get(&part.node) {
            Some(have) if have.label.version > part.label.version => return None,
            Some(have) => have.label.version < part.label.version || have.label.count != part.label.count,
            None if self.0.len() >= MAX_NODES => return None,
            None => true,
        };
        if replace {
            let fresh = Assembly {
                label: part.label,
                pieces: BTreeMap::new(),
                source: from.clone(),
                ask_at: now + ASK_AGAIN_AFTER,
                asked: 0,
            };
            self.0.insert(part.node.clone(), fresh);
        }
        let assembly = self.0.get_mut(&part.node)?;
        assembly.source = from.clone();
        assembly.pieces.insert(part.label.index, part.bytes.to_vec());
        if assembly.pieces.len() < usize::from(assembly.label.count) {
            return None;
        }
        let assembly = self.0.remove(&part.node)?;
        let encoded: Vec<u8> = assembly.pieces.into_values().flatten().collect();
        let (record, rest) = postcard::take_from_bytes::<NodeRecord>(&encoded).ok()?;
        // What the label promised is what must be inside, or a broken peer could hide one node behind another.
        let honest = rest.is_empty() && record.node == part.node && record.version == assembly.label.version;
        honest.then_some(record)
    }

    /// The records whose missing pieces must be asked for now, and whom to ask. Gives up on those asked for
    /// [`ASK_AGAIN_TIMES`] in vain.
    pub fn overdue(&mut self, now: Instant) -> Vec<(NodeId, NodeId)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        self.0.retain(|_, assembly| now < assembly.ask_at || assembly.asked < ASK_AGAIN_TIMES);
        let mut overdue = Vec::new();
        for (node, assembly) in self.0.iter_mut().filter(|(_, assembly)| now >= assembly.ask_at) {
            assembly.ask_at = now + ASK_AGAIN_AFTER;
            assembly.asked += 1;
            overdue.push((assembly.source.clone(), node.clone()));
        }
        overdue
    }

    /// When [`Assemblies::overdue`] has something to say next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.0.values().map(|assembly| assembly.ask_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::drain::DrainPhase;
    use super::super::record::tests::record;
    use super::super::record::{MAX_POINTS, Version};
    use super::super::token::TokenName;
    use super::*;
    use crate::proto::onion::descriptor::capabilities::{Capabilities, FlowControl};
    use crate::proto::onion::descriptor::intro_point::MAX_LINK_SPECIFIERS_LEN;

    fn start() -> (Instant, NodeId) {
        (Instant::now(), "from".parse().unwrap())
    }

    fn part(datagram: &[u8]) -> Part<'_> {
        let Message::Part(part) = Message::decode(datagram).unwrap() else { panic!("not a part") };
        part
    }

    #[test]
    fn the_largest_legal_record_fits() {
        let mut large = record(&"n".repeat(32), u64::MAX, u64::MAX, MAX_POINTS);
        for point in &mut large.points {
            // RSA identity, then one specifier that fills the block.
            let mut block = vec![2, 2, 20];
            block.extend([1; 20]);
            block.extend([9, u8::try_from(MAX_LINK_SPECIFIERS_LEN - 25).unwrap()]);
            block.resize(MAX_LINK_SPECIFIERS_LEN, 0);
            point.link_specifiers = block;
            point.check().unwrap();
        }
        let flow_control = Some(FlowControl { versions: u64::MAX, sendme_inc: u8::MAX });
        large.capabilities = Some(Capabilities { flow_control, single_onion: true });
        large.counters = vec![(u64::MAX, u64::MAX); 4];
        large.published = vec![large.node.clone(); MAX_POINTS];
        large.drain_phase = Some(DrainPhase::Drained);
        large.token = TokenName { seq: u32::MAX, tag: [255; 4] };
        large.endpoint = Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap());
        let datagrams = split(&large);
        assert_eq!(datagrams.len(), usize::from(MAX_PARTS));
        let (now, from) = start();
        let mut assemblies = Assemblies::default();
        let done: Vec<_> = datagrams.iter().filter_map(|d| assemblies.add(now, &from, &part(d))).collect();
        assert_eq!(done, [large]);
        assert_eq!(assemblies.next_timeout(), None);
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let (now, from) = start();
        let whole = record("a", 1, 1, 20);
        let mut datagrams = split(&whole);
        assert!(datagrams.len() > 1);
        datagrams.reverse();
        let mut assemblies = Assemblies::default();
        assert_eq!(assemblies.add(now, &from, &part(&datagrams[0])), None);
        for datagram in &datagrams[..datagrams.len() - 1] {
            assert_eq!(assemblies.add(now, &from, &part(datagram)), None);
        }
        assert_eq!(assemblies.add(now, &from, &part(&datagrams[datagrams.len() - 1])), Some(whole));
    }

    #[test]
    fn a_newer_version_replaces_the_pieces_of_an_older_one() {
        let (now, from) = start();
        let (old, new) = (record("a", 1, 1, 20), record("a", 1, 2, 20));
        let (old_parts, new_parts) = (split(&old), split(&new));
        let mut assemblies = Assemblies::default();
        assemblies.add(now, &from, &part(&old_parts[0]));
        assemblies.add(now, &from, &part(&new_parts[0]));
        for datagram in &old_parts {
            assert_eq!(assemblies.add(now, &from, &part(datagram)), None);
        }
        let done: Vec<_> =
            new_parts[1..].iter().filter_map(|d| assemblies.add(now, &from, &part(d))).collect();
        assert_eq!(done, [new]);
    }

    #[test]
    fn missing_pieces_are_asked_for_a_few_times() {
        let (now, from) = start();
        let datagrams = split(&record("a", 1, 1, 20));
        let mut assemblies = Assemblies::default();
        assemblies.add(now, &from, &part(&datagrams[0]));
        assert!(assemblies.overdue(now).is_empty());
        let mut asked = 0;
        let mut at = now;
        while let Some(next) = assemblies.next_timeout() {
            at = next;
            asked += assemblies.overdue(next).len();
        }
        assert_eq!(asked, usize::from(ASK_AGAIN_TIMES));
        assert!(at <= now + ASK_AGAIN_AFTER * (u32::from(ASK_AGAIN_TIMES) + 1));
    }

    #[test]
    fn a_label_cannot_lie_about_what_is_inside() {
        let (now, from) = start();
        let encoded = postcard::to_stdvec(&record("b", 1, 1, 1)).unwrap();
        let label = Label { version: Version { incarnation: 1, change: 1 }, index: 0, count: 1 };
        let lie = Part { node: "a".parse().unwrap(), label, bytes: &encoded };
        assert_eq!(Assemblies::default().add(now, &from, &lie), None);
        let newer = Label { version: Version { incarnation: 1, change: 2 }, ..label };
        let lie = Part { node: "b".parse().unwrap(), label: newer, bytes: &encoded };
        assert_eq!(Assemblies::default().add(now, &from, &lie), None);
    }
}
