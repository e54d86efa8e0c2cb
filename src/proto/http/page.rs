//! What a client sees when there is no response of the target to pass on.

/// Seconds after which a client may try again: the target is looked at every five seconds while it is not well.
pub const RETRY_AFTER_SECS: u64 = 10;

/// What the page may load and run: nothing but its own style, and pictures that it holds itself.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";
/// The statuses that say that trying again later may help; for these there can be a page of the operator's.
pub const PASSING: [u16; 3] = [502, 503, 504];
/// Most bytes of the operator's page. It is held in memory, and sent to each client whom the target fails.
pub const MAX_TEMPLATE_BYTES: u64 = 64 * 1024;

/// Whether trying again later may help.
pub fn is_passing(status: u16) -> bool {
    PASSING.contains(&status) || status == 429
}

/// The page for a status: whole in itself, and silent about what stands behind it.
pub fn page(status: u16) -> String {
    let (title, text) = words(status);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>body{{font-family:sans-serif;max-width:36em;margin:15vh auto;padding:0 1em}}</style>\n\
         <h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    )
}

/// The operator's page for a status: `{{status}}` is its number, `{{reason}}` a sentence for people.
pub fn filled(template: &str, status: u16) -> String {
    template.replace("{{status}}", &status.to_string()).replace("{{reason}}", words(status).1)
}

fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("Bad request", "The request could not be understood."),
        405 => ("Method not allowed", "This service does not take requests of this kind."),
        408 => ("Request timed out", "The request took too long to arrive."),
        413 => ("Content too large", "The request is larger than this service takes."),
        414 => ("Address too long", "The address of this page is longer than this service takes."),
        417 => ("Expectation failed", "The request expects something that this service does not offer."),
        429 => ("Too many requests", "Too much was asked for at once. Try again in a moment."),
        431 => (
            "Headers too large",
            "The request's headers are larger than this service takes; fewer cookies may help.",
        ),
        501 => ("Not implemented", "The request uses something that this service does not know."),
        502 => (
            "Bad gateway",
            "The service behind this address gave an answer that makes no sense. Try again in a moment.",
        ),
        504 => {
            ("No answer", "The service behind this address did not answer in time. Try again in a moment.")
        }
        505 => ("Version not supported", "The request's version of HTTP is not known here."),
        _ => ("Unavailable", "The service behind this address cannot be reached. Try again in a moment."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_operators_is_filled_in() {
        let template = "<p>{{status}}: {{reason}} {{status}} {{other}}";
        let expected = "<p>504: The service behind this address did not answer in time. Try again in a moment. 504 {{other}}";
        assert_eq!(filled(template, 504), expected);
        assert_eq!(filled("", 503), "");
    }

    #[test]
    fn a_page_stands_alone() {
        for status in 400..=599 {
            let page = page(status);
            for outside in ["http:", "https:", "//", "src=", "href=", "<script", "url("] {
                assert!(!page.contains(outside), "{status}: {outside}");
            }
            assert!(page.len() < 1000, "{status}");
        }
        assert!(page(503).contains("cannot be reached") && is_passing(503) && !is_passing(400));
    }
}
