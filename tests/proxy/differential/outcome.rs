//! What came of a case: what the client got, and what the target was asked, each in a form that does not tell who made it.

use crate::peer::Message;

/// Headers that say something about the proxy, or about one hop.
const OF_THE_HOP: [&str; 5] = ["connection", "date", "keep-alive", "server", "transfer-encoding"];

/// All that came of a case.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    answers: Vec<Answer>,
    asked: Vec<Asked>,
    /// Whether the proxy closed the connection in the end.
    ended: bool,
}

/// One response.
#[derive(Debug, PartialEq)]
enum Answer {
    /// The target's: status, headers, body (`None`: broken off).
    Target(u16, Vec<String>, Option<String>),
    /// The proxy's own.
    Own(u16),
    /// Not a whole head.
    Broken,
}

/// One request: first line, headers, body, trailers. How long the body said it was is left out: nginx gives a body in
/// chunks on with a length when it has all of it, we never do.
#[derive(Debug, PartialEq)]
struct Asked(String, Vec<String>, String, String);

impl Outcome {
    /// `head`: whether the first request was HEAD. `own`: the target's name, which stands as § in the outcome.
    pub(super) fn new(answers: &[u8], ended: bool, head: bool, asked: Vec<Message>, own: &str) -> Self {
        let text = String::from_utf8_lossy(answers).replace(own, super::OWN);
        Self {
            answers: answers_of(&text, head),
            asked: asked
                .into_iter()
                .map(|message| {
                    let body = String::from_utf8_lossy(&message.body).into_owned();
                    let head = message.head.replace(own, super::OWN);
                    let first = head.lines().next().unwrap_or_default().to_owned();
                    let mut headers = headers(&head);
                    headers.retain(|header| !header.starts_with("content-length:"));
                    Asked(first, headers, body, message.trailers)
                })
                .collect(),
            ended,
        }
    }

    /// Whether the case came to this refusal, and to nothing else.
    pub(super) fn is_refused(&self, status: u16) -> bool {
        self.answers == [Answer::Own(status)] && self.asked.is_empty() && self.ended
    }
}

/// The headers that matter, each name in lower case, in the alphabet's order.
fn headers(head: &str) -> Vec<String> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut headers: Vec<String> = lines
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .filter(|(name, _)| !OF_THE_HOP.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    headers
}

fn answers_of(mut text: &str, mut head_only: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !text.is_empty() {
        let Some((head, rest)) = text.split_once("\r\n\r\n") else {
            answers.push(Answer::Broken);
            break;
        };
        let status: u16 = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let has_body = status >= 200 && status != 204 && status != 304 && !head_only;
        let (body, rest) = if has_body { body_of(head, rest) } else { (Some(String::new()), rest) };
        answers.push(if status < 200 || head.to_ascii_lowercase().contains("x-target:") {
            Answer::Target(status, headers(head), body)
        } else {
            Answer::Own(status)
        });
        // What was for HEAD is the first final response.
        head_only &= status < 200;
        text = rest;
    }
    answers
}

/// A body, if it is whole, and what lies behind it.
fn body_of<'a>(head: &str, text: &'a str) -> (Option<String>, &'a str) {
    let lower = head.to_ascii_lowercase();
    if lower.contains("transfer-encoding: chunked") {
        return chunks(text);
    }
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let Some(length) = length.and_then(|length| length.trim().parse::<usize>().ok()) else {
        return (Some(text.to_owned()), "");
    };
    match text.split_at_checked(length) {
        Some((body, rest)) => (Some(body.to_owned()), rest),
        None => (None, ""),
    }
}

fn chunks(mut text: &str) -> (Option<String>, &str) {
    let mut body = String::new();
    loop {
        let Some((size, rest)) = text.split_once("\r\n") else { return (None, "") };
        let Ok(size) = usize::from_str_radix(size, 16) else { return (None, "") };
        if size == 0 {
            let Some((_, rest)) = text.split_once("\r\n\r\n") else { return (None, "") };
            return (Some(body), rest);
        }
        let Some((chunk, rest)) = rest.split_at_checked(size + 2) else { return (None, "") };
        body.push_str(&chunk[..size]);
        text = rest;
    }
}
