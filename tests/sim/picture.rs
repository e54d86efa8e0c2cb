//! Distributions, drawn: of so many clusters, what part was ready by then.

use std::fmt::Write;
use std::time::Duration;

/// One distribution: sorted times.
#[derive(Clone)]
pub struct Curve {
    pub name: String,
    pub times: Vec<Duration>,
}

/// Distributions of the same thing.
pub struct Panel {
    pub title: String,
    pub curves: Vec<Curve>,
}

/// The size of one panel's field, in pixels, and what is around it.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 52.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 46.0;
/// Colours that are told apart also by those who do not see all colours (Okabe and Ito).
const COLOURS: [&str; 3] = ["#0072b2", "#e69f00", "#009e73"];

/// An SVG picture, two panels in a row.
pub fn draw(panels: &[Panel]) -> String {
    let (wide, high) = (WIDTH + LEFT + 20.0, HEIGHT + ABOVE + BELOW);
    let rows = panels.len().div_ceil(2);
    #[allow(clippy::cast_precision_loss)] // a handful
    let (width, height) = (wide * 2.0, high * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)] // a handful
        let (x, y) = ((at % 2) as f64 * wide + LEFT, (at / 2) as f64 * high + ABOVE);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw_panel(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel) {
    let worst = panel.curves.iter().filter_map(|curve| curve.times.last()).max();
    let end = round_up(worst.map_or(1.0, Duration::as_secs_f64));
    let _ = writeln!(svg, "<text x=\"0\" y=\"-14\" font-weight=\"bold\">{}</text>", panel.title);
    for tick in 0..=4 {
        let part = f64::from(tick) / 4.0;
        let (x, y) = (part * WIDTH, HEIGHT - part * HEIGHT);
        let _ = writeln!(
            svg,
            "<path d=\"M0 {y:.1}H{WIDTH}M{x:.1} 0V{HEIGHT}\" stroke=\"#dddddd\" fill=\"none\"/>\
             <text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
            y + 4.0,
            part * 100.0,
            HEIGHT + 16.0,
            (part * end * 100.0).round() / 100.0,
        );
    }
    for ((curve, colour), row) in panel.curves.iter().zip(COLOURS).zip(0u8..) {
        let path = steps(&curve.times, end);
        let y = HEIGHT - 46.0 + f64::from(row) * 16.0;
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>\
             <text x=\"{}\" y=\"{y}\" fill=\"{colour}\" text-anchor=\"end\">{}</text>",
            WIDTH - 6.0,
            curve.name
        );
    }
}

/// A step up at each time.
fn steps(times: &[Duration], end: f64) -> String {
    let mut path = format!("M0 {HEIGHT}");
    for (before, time) in times.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)] // hundreds
        let part = (before + 1) as f64 / times.len() as f64;
        let (x, y) = (time.as_secs_f64() / end * WIDTH, HEIGHT - part * HEIGHT);
        let _ = write!(path, "H{x:.1}V{y:.1}");
    }
    let _ = write!(path, "H{WIDTH}");
    path
}

/// The next number above that divides well by four.
fn round_up(seconds: f64) -> f64 {
    let unit = 10f64.powf(seconds.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * unit).find(|end| *end >= seconds).unwrap_or(seconds)
}
