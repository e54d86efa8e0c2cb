//! The page as a whole: one document, nothing from anywhere else. What changes is one piece of it, which is sent anew with
//! every change; a browser without script reads the whole page again every few seconds.

use super::markup::escaped;
use super::{cluster, health, hsdirs, past};
use crate::proto::health::report::HealthReport;
use crate::watchdog::overview::Overview;

/// What the answer is called in HTTP.
pub(in crate::watchdog) const CONTENT_TYPE: &str = "text/html; charset=utf-8";
/// What a browser may load for it and run in it: this style, this script, which opens the stream of events, and the empty
/// picture that keeps it from asking for another one. A test says when the sums are others.
pub(in crate::watchdog) const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-uTm73+NuxL5L96bojqEGTFudhgW56uLxHKYPsCZKkig='; script-src 'sha256-V3r+/1P2LMWPdj3lVTcRrTj8nrIsLnTSc4/b3Wv034c='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Everything that is drawn the same way.
const STYLE: &str = "\
    :root{color-scheme:light dark;--text:#222;--back:#fff;--line:#ddd;--good:#176b2c;--fair:#8a5a00;--bad:#b00020;\
    --quiet:#777;--first:#2b5fb8;--second:#8a3ea8;--third:#0d7a80}\
    @media(prefers-color-scheme:dark){:root{--text:#ddd;--back:#161616;--line:#3a3a3a;--good:#6fcf87;--fair:#e0b050;\
    --bad:#ff7b86;--quiet:#999;--first:#7fa8ee;--second:#cf92e8;--third:#63c7cd}}\
    body{font:16px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:var(--text);\
    background:var(--back)}\
    main{overflow-x:auto}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}h3{font-size:1rem}\
    table{border-collapse:collapse;width:100%}\
    th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}td:first-child{white-space:nowrap}\
    .good{color:var(--good)}.fair{color:var(--fair)}.bad{color:var(--bad);font-weight:600}\
    .ring-wide,.ring-small{margin:0 auto}.ring-wide{max-width:44rem}.ring-small{max-width:36rem}\
    svg{display:block;width:100%}svg text{fill:var(--text);font:10px ui-monospace,monospace}\
    svg .middle{text-anchor:middle;font:12px system-ui,sans-serif}svg .name{font-weight:600}\
    .ring,.line,.arc-0,.arc-1,.arc-2{fill:none;stroke:var(--quiet)}.ring{stroke-width:2}.line{stroke-width:.7}\
    .arc-0,.arc-1,.arc-2{stroke-width:4;stroke-linejoin:round}\
    .arc-0{stroke:var(--first)}.arc-1{stroke:var(--second)}.arc-2{stroke:var(--third)}\
    .verified,.accepted,.posting,.behind,.unknown,.idle{stroke:var(--good);stroke-width:1.5;fill:var(--back)}\
    .verified{fill:var(--good)}.posting{stroke:var(--fair);fill:var(--fair)}.behind{stroke:var(--bad);fill:var(--bad)}\
    .unknown,.idle{stroke:var(--quiet)}.unknown{fill:var(--quiet)}";
/// Puts in what the stream of events brings, and says when it brings nothing. A browser comes back by itself when the
/// stream ends, and not when it was refused, as there are too many.
const SCRIPT: &str = "\
    const live=document.getElementById('live'),note=document.getElementById('note');\
    function open(){\
    const events=new EventSource('/events');\
    events.onmessage=event=>{live.innerHTML=event.data;note.className='good';\
    note.textContent='This page follows what happens.'};\
    events.onerror=()=>{note.className='bad';\
    note.textContent='The node does not answer: what is shown may be old.';\
    if(events.readyState===EventSource.CLOSED)setTimeout(open,10000)}}\
    open();";

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub(in crate::watchdog) struct View<'a> {
    /// This node's name.
    pub(in crate::watchdog) node: &'a str,
    /// Its health.
    pub(in crate::watchdog) health: &'a HealthReport,
    /// What is known besides.
    pub(in crate::watchdog) overview: &'a Overview,
    /// When it is shown.
    pub(in crate::watchdog) now_unix_secs: u64,
}

impl View<'_> {
    /// The whole page.
    pub(in crate::watchdog) fn html(&self) -> String {
        let (node, piece) = (escaped(self.node), self.piece());
        format!(
            "<!doctype html><html lang=en><head><meta charset=utf-8>\
             <noscript><meta http-equiv=refresh content=5></noscript>\
             <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{node}: rustbalance</title>\
             <link rel=icon href=\"data:,\"><style>{STYLE}</style></head><body>\n<h1>{node}</h1>\n\
             <main id=live>\n{piece}</main>\n<p id=note role=status></p>\n\
             <p>The same for machines: <a href=/metrics>/metrics</a></p>\n<script>{SCRIPT}</script></body></html>\n"
        )
    }

    /// The piece that changes.
    pub(in crate::watchdog) fn piece(&self) -> String {
        let mut piece = String::new();
        let Overview { cluster, descriptors } = self.overview;
        health::line(self.health, &mut piece);
        health::complaints(self.health, &mut piece);
        cluster::write(self.overview, &mut piece);
        hsdirs::write(descriptors.as_ref(), self.now_unix_secs, &mut piece);
        past::write(&self.health.past, cluster.as_ref(), self.now_unix_secs, &mut piece);
        health::parts(self.health, &mut piece);
        health::facts(self.health, descriptors.as_ref(), self.now_unix_secs, &mut piece);
        piece
    }
}

#[cfg(test)]
pub(in crate::watchdog) mod tests {
    use data_encoding::BASE64;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::proto::cluster::drain::DrainPhase;
    use crate::proto::cluster::status::{Lifecycle, Past};
    use crate::proto::onion::network::SlotKind;
    use crate::proto::onion::ring::RingPlace;
    use crate::proto::publish::report::{Answers, HsDirReport, HsDirState, Seat, SlotReport};
    use crate::watchdog::metrics::tests::whole;
    use crate::watchdog::overview::{Cluster, Descriptors, Member};

    pub(in crate::watchdog) fn cluster() -> Cluster {
        let member = |name: &str| Member {
            node: name.parse().unwrap(),
            lifecycle: Lifecycle::Healthy,
            drain: None,
            points: 3,
            lease_epoch: None,
            target_well: Some(true),
            published: false,
        };
        let holder = Member { lease_epoch: Some(7), published: true, ..member("alpha") };
        let drained =
            Member { lifecycle: Lifecycle::Draining, drain: Some(DrainPhase::Muted), ..member("beta") };
        let lost = Member { lifecycle: Lifecycle::Unhealthy, ..member("gamma") };
        Cluster {
            node: "alpha".parse().unwrap(),
            joining: false,
            holder: Some("alpha".parse().unwrap()),
            epoch: 7,
            discovering: false,
            nodes: vec![holder, drained, lost],
            past: vec![Past { unix_ms: 50_000, text: "beta is <drained>".to_owned(), alarming: false }],
        }
    }

    pub(in crate::watchdog) fn overview() -> Overview {
        let hsdir = |(counter, eighth): (u64, u32)| HsDirReport {
            fingerprint: format!("{counter:040X}"),
            state: HsDirState::Verified,
            counter: Some(counter),
            accepted_at: Some(60),
            read_back_at: Some(61),
            failures: 0,
            answers: Answers::default(),
            seat: Some(Seat { replica: 1 + u8::from(eighth > 3), place: RingPlace(eighth << 29) }),
        };
        let slot = |which, period, client_fetches, counter: u64| SlotReport {
            which,
            period,
            client_fetches,
            points: 3,
            points_by_node: vec![("alpha".parse().unwrap(), 3)],
            published: Vec::new(),
            renewed_at: Some(60),
            certified_until: None,
            replicas: vec![RingPlace(0), RingPlace(1 << 31)],
            hsdirs: [(counter, 1), (counter + 1, 3), (counter + 2, 5), (counter + 3, 7)].map(hsdir).to_vec(),
        };
        let slots =
            vec![slot(SlotKind::First, 20_780, true, 4711), slot(SlotKind::Second, 20_781, false, 815)];
        Overview {
            cluster: Some(cluster()),
            descriptors: Some(Descriptors { relays: vec![[0xAB; 20]; 3], slots }),
        }
    }

    fn html(node: &str, health: &HealthReport, overview: &Overview) -> String {
        View { node, health, overview, now_unix_secs: 100 }.html()
    }

    #[test]
    fn it_says_what_fails_and_nothing_in_it_can_be_markup_or_comes_from_elsewhere() {
        let page = html("<script>", &whole(), &overview());
        assert!(page.contains("the proxy &lt;hangs&gt; &amp; is killed") && page.contains("being repaired"));
        assert!(page.contains("beta is &lt;drained&gt;"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        for outside in ["http://", "https://", "src=", "@import", "url(", "style="] {
            assert!(!page.contains(outside), "{outside}: {page}");
        }
    }

    #[test]
    fn a_node_that_is_well_says_so() {
        let page = html("alpha", &HealthReport::default(), &Overview::default());
        assert!(page.contains("<p class=good>all is well</p>"), "{page}");
    }

    #[test]
    fn whoever_has_no_script_reads_it_again_and_again() {
        let page = html("alpha", &whole(), &overview());
        assert!(page.contains("<noscript><meta http-equiv=refresh content=5></noscript>"), "{page}");
        assert!(page.contains("<main id=live>\n<p class=fair>"), "the page is whole without script: {page}");
    }

    #[test]
    fn the_policy_allows_this_style_and_this_script_and_nothing_else() {
        for (text, what) in [(STYLE, "style"), (SCRIPT, "script")] {
            let sum = BASE64.encode(&Sha256::digest(text));
            assert!(POLICY.contains(&format!("{what}-src 'sha256-{sum}';")), "{what}: {sum}");
        }
        assert!(!POLICY.contains("unsafe") && POLICY.starts_with("default-src 'none';"));
    }
}
