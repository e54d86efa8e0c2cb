//! What a canary says and hears: "is one of us there?", and the name of who is, each proven by a holder of the cluster token.
//!
//! The path at which it asks follows from the token and is not that of joining: the proxy sees it every minute, and must
//! learn nothing by it that lets anybody in. Whoever knows no path, or holds no token, gets what any request gets. A question
//! holds for a few minutes only, and an answer for its question only, so what was overheard is of no use.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::gate::{MAX_AGE_SECS, MAX_AHEAD_SECS};
use super::keys::{JoinKeys, Purpose, Tag};
use super::member::base64;
use super::secret::JoinSecret;
use crate::proto::node::NodeId;

/// Most bytes of a question or an answer; either has about 130.
const MAX_BYTES: usize = 512;

/// The path at which holders of this token are greeted.
pub fn path(keys: &JoinKeys) -> JoinSecret {
    JoinSecret::derived(Zeroizing::new(keys.tag(Purpose::GreetingPath, &[])))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(with = "base64")]
    nonce: [u8; 32],
    sent_secs: u64,
    #[serde(with = "base64")]
    proof: Tag,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    node_id: NodeId,
    #[serde(with = "base64")]
    proof: Tag,
}

/// A question that no other is like, as a body; and its tag, by which the answer is known. `None` cannot happen.
pub fn ask(keys: &JoinKeys, unix_ms: u64, rng: &mut impl Rng) -> Option<(Vec<u8>, Tag)> {
    let (nonce, sent_secs) = (rng.random(), unix_ms / 1000);
    let proof = proof_of_question(keys, &nonce, sent_secs);
    let body = serde_json::to_vec(&Question { nonce, sent_secs, proof }).ok()?;
    Some((body, proof))
}

/// What `own` answers to this body: `None`, unless it is a question of this time under one of these tokens. Takes the same
/// time whichever token it is.
pub fn answer<'a>(
    body: &[u8],
    keys: impl Iterator<Item = &'a JoinKeys>,
    own: &NodeId,
    unix_ms: u64,
) -> Option<Vec<u8>> {
    let Question { nonce, sent_secs, proof } = parse(body)?;
    let now_secs = unix_ms / 1000;
    let timely = now_secs.saturating_sub(MAX_AGE_SECS)..=now_secs.saturating_add(MAX_AHEAD_SECS);
    let mut proven = None;
    for keys in keys {
        if keys.is_tag(Purpose::Greeting, &[&nonce, &sent_secs.to_be_bytes()], &proof) {
            proven = Some(keys);
        }
    }
    let keys = proven.filter(|_| timely.contains(&sent_secs))?;
    let answered = keys.tag(Purpose::GreetingAnswer, &[&proof, own.as_str().as_bytes()]);
    serde_json::to_vec(&Answer { node_id: own.clone(), proof: answered }).ok()
}

/// Who answered the question with this tag; `None`: nobody of ours.
pub fn read_answer(body: &[u8], keys: &JoinKeys, question: &Tag) -> Option<NodeId> {
    let Answer { node_id, proof } = parse(body)?;
    keys.is_tag(Purpose::GreetingAnswer, &[question, node_id.as_str().as_bytes()], &proof).then_some(node_id)
}

fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Option<T> {
    (body.len() <= MAX_BYTES).then(|| serde_json::from_slice(body).ok()).flatten()
}

fn proof_of_question(keys: &JoinKeys, nonce: &[u8; 32], sent_secs: u64) -> Tag {
    keys.tag(Purpose::Greeting, &[nonce, &sent_secs.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::keys::tests::keys;
    use super::*;

    const NOW_MS: u64 = 1_790_000_000_000;

    fn asked() -> (Vec<u8>, Tag) {
        ask(&keys(1), NOW_MS, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    fn own() -> NodeId {
        "alpha".parse().unwrap()
    }

    fn answered(body: &[u8], tokens: &[u8], unix_ms: u64) -> Option<Vec<u8>> {
        let all: Vec<_> = tokens.iter().map(|number| keys(*number)).collect();
        answer(body, all.iter(), &own(), unix_ms)
    }

    #[test]
    fn who_answers_is_known_and_each_question_is_new() {
        let mut rng = StdRng::seed_from_u64(1);
        let (one, first) = ask(&keys(1), NOW_MS, &mut rng).unwrap();
        let (other, second) = ask(&keys(1), NOW_MS, &mut rng).unwrap();
        assert_ne!(one, other);
        let said = answered(&one, &[2, 1, 3], NOW_MS).unwrap();
        assert!(one.len() <= MAX_BYTES && said.len() <= MAX_BYTES);
        assert_eq!(read_answer(&said, &keys(1), &first), Some(own()));
        assert_eq!(read_answer(&said, &keys(1), &second), None, "an answer is for its question only");
        assert_eq!(read_answer(&said, &keys(2), &first), None);
        let renamed = String::from_utf8(said).unwrap().replace("alpha", "gamma");
        assert_eq!(read_answer(renamed.as_bytes(), &keys(1), &first), None);
        // A question is no answer, and the other way round.
        assert_eq!(read_answer(&one, &keys(1), &first), None);
    }

    #[test]
    fn a_stranger_is_told_nothing() {
        let (body, _) = asked();
        assert_eq!(answered(&body, &[2, 3], NOW_MS), None, "another token");
        assert_eq!(answered(&body, &[], NOW_MS), None);
        for (late_ms, told) in [(-61_000, false), (-60_000, true), (300_000, true), (301_000, false)] {
            assert_eq!(
                answered(&body, &[1], NOW_MS.saturating_add_signed(late_ms)).is_some(),
                told,
                "{late_ms}"
            );
        }
        let text = String::from_utf8(body).unwrap();
        let padded = format!("{text}{}", " ".repeat(MAX_BYTES));
        let later = text.replace("1790000000", "1790000001");
        for bad in ["", "{}", "null", &text[1..], &format!("{text}x"), &padded, &later] {
            assert_eq!(answered(bad.as_bytes(), &[1], NOW_MS), None, "{bad}");
        }
    }

    #[test]
    fn the_path_follows_from_the_token_alone() {
        assert_eq!(*path(&keys(1)).to_text(), *path(&keys(1)).to_text());
        assert_ne!(*path(&keys(1)).to_text(), *path(&keys(2)).to_text());
    }
}
