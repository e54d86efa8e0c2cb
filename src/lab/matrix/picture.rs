//! The matrix as a picture: how long each failure lasted, beside what it may last and what it once lasted.

use std::fmt::Write;

use super::entry::{Entry, Verdict};

/// A line of the picture, in pixels.
const LINE: f64 = 22.0;
/// Room for the names.
const NAMES: f64 = 380.0;
/// Room for the bars.
const BARS: f64 = 460.0;
/// Room above them, for the scale.
const ABOVE: f64 = 40.0;
/// The scale: from a tenth of a second to a thousand seconds, each ten times the one before.
const DECADES: [(f64, &str); 5] =
    [(0.1, "0.1 s"), (1.0, "1 s"), (10.0, "10 s"), (100.0, "100 s"), (1000.0, "1000 s")];
/// Colours that are told apart also by those who do not see all colours (Okabe and Ito).
const GOOD: &str = "#009e73";
const MISSED: &str = "#d55e00";
const NOT_JUDGED: &str = "#0072b2";
const LIMIT: &str = "black";
const SEED: &str = "#e69f00";

/// An SVG picture of what was measured.
pub(super) fn draw(entries: &[Entry]) -> String {
    let measured: Vec<_> =
        entries.iter().filter_map(|entry| Some((entry, bar_colour(entry.verdict)?))).collect();
    #[allow(clippy::cast_precision_loss)] // some dozens
    let height = ABOVE + LINE * measured.len() as f64 + LINE;
    let width = NAMES + BARS + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    // Writing to a string cannot fail.
    for (seconds, name) in DECADES {
        let x = place(seconds);
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{ABOVE}\" x2=\"{x}\" y2=\"{}\" stroke=\"#ddd\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            height - LINE,
            ABOVE - 8.0,
        );
    }
    for (at, (entry, colour)) in measured.into_iter().enumerate() {
        #[allow(clippy::cast_precision_loss)] // some dozens
        let y = ABOVE + LINE * at as f64;
        line(&mut svg, entry, colour, y);
    }
    let _ = writeln!(
        svg,
        "<text x=\"{NAMES}\" y=\"{}\" text-anchor=\"start\">bar: measured; black: limit; orange: the older \
         system</text>\n</svg>",
        height - 6.0,
    );
    svg
}

fn line(svg: &mut String, entry: &Entry, colour: &str, y: f64) {
    let middle = y + LINE * 0.7;
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{} {}</text>",
        NAMES - 8.0,
        entry.id,
        escaped(entry.failure),
    );
    if let Some(took) = entry.clear_secs {
        let _ = writeln!(
            svg,
            "<rect x=\"{NAMES}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>",
            y + 4.0,
            place(took) - NAMES,
            LINE - 8.0,
        );
    }
    for (time, colour) in [(entry.limit_secs, LIMIT), (entry.seed_secs, SEED)] {
        let Some(x) = time.map(place) else { continue };
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
            y + 2.0,
            y + LINE - 2.0,
        );
    }
}

/// Only what was measured is drawn.
fn bar_colour(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Good => Some(GOOD),
        Verdict::Missed => Some(MISSED),
        Verdict::NotJudged => Some(NOT_JUDGED),
        Verdict::NotPlayed => None,
    }
}

/// Where a time is on the scale.
fn place(seconds: f64) -> f64 {
    let [(first, _), .., (last, _)] = DECADES;
    let part = (seconds.clamp(first, last) / first).log10() / (last / first).log10();
    NAMES + BARS * part
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lie_on_a_scale_that_they_do_not_leave() {
        for (seconds, part) in [(0.01, 0.0), (0.1, 0.0), (10.0, 0.5), (1000.0, 1.0), (9999.0, 1.0)] {
            assert!((place(seconds) - NAMES - BARS * part).abs() < 1e-9, "{seconds}");
        }
    }
}
