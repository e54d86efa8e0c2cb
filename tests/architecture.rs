//! The architecture as a test: floors, siblings, purity of `proto`, circles, sizes, names.
//!
//! Every rule is a function from parsed sources to a list of violations, so that each can be shown to fail
//! on a few lines made for it (the `rules` module at the end) and then be run on the whole house.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Longest file, in lines, its test module left out: beyond it a room wants a wall.
const MAX_FILE_LINES: usize = 400;
/// Longest function, in lines: what fits on a screen.
const MAX_FUNCTION_LINES: usize = 80;
/// Names that say nothing and become the door through which every arrow runs back up.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "helpers", "types", "misc"];
/// Rooms inside `proto` on which the other rooms of `proto` stand.
const GROUND: [&str; 2] = ["onion", "node"];
/// What a pure core may not name: runtimes, clocks, randomness of its own, outside things, unordered maps.
const IMPURE: [&str; 18] = [
    "tokio",
    "async_std",
    "nix",
    "tracing",
    "log",
    "futures_util",
    "HashMap",
    "HashSet",
    "SystemTime",
    "fs",
    "env",
    "process",
    "thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "OsRng",
];

/// One parsed source file.
struct Source {
    /// Module path from the crate root: `["proto", "onion", "period"]`.
    module: Vec<String>,
    path: String,
    text: String,
    syntax: syn::File,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self { module: module_of(path), path: path.to_owned(), text: text.to_owned(), syntax }
    }

    fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Paths this file names, from the crate root, its own test modules left out.
    fn arrows(&self) -> Vec<Vec<String>> {
        let mut finder = Arrows { module: &self.module, found: Vec::new() };
        finder.visit_file(&self.syntax);
        finder.found
    }
}

/// `src/proto/onion/mod.rs` → `proto::onion`; `src/bin/x.rs` → `bin::x`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.split('/').filter(|part| !matches!(*part, "mod" | "lib")).map(str::to_owned).collect()
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test"))
}

/// Collects `crate::…`, `rustbalance::…`, `super::…` paths, in `use` trees, in code and inside macro calls.
struct Arrows<'a> {
    module: &'a [String],
    found: Vec<Vec<String>>,
}

impl Arrows<'_> {
    fn record(&mut self, segments: &[String]) {
        let Some(first) = segments.first() else { return };
        match first.as_str() {
            "crate" | "rustbalance" => self.found.push(segments[1..].to_vec()),
            "super" => {
                let ups = segments.iter().take_while(|s| *s == "super").count();
                let base = &self.module[..self.module.len().saturating_sub(ups)];
                self.found.push(base.iter().chain(&segments[ups..]).cloned().collect());
            }
            _ => {}
        }
    }

    fn use_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: String| prefix.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(p) => self.use_tree(&with(p.ident.to_string()), &p.tree),
            syn::UseTree::Name(n) => self.record(&with(n.ident.to_string())),
            syn::UseTree::Rename(r) => self.record(&with(r.ident.to_string())),
            syn::UseTree::Glob(_) => self.record(&with("*".to_owned())),
            syn::UseTree::Group(g) => g.items.iter().for_each(|t| self.use_tree(prefix, t)),
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 || path.is_empty() => {
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(p) if p.as_char() == ':' && !path.is_empty() => colons += 1,
                other => {
                    self.record(&std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Ident(ident) => path.push(ident.to_string()),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.record(&path);
    }
}

impl<'ast> Visit<'ast> for Arrows<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test_only(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&[], &item.tree);
    }
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.record(&path.segments.iter().map(|s| s.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// The floor a room stands on; `None` for a room the house does not know.
fn floor(room: &str) -> Option<u8> {
    Some(match room {
        "proto" => 1,
        "ipc" | "tor" | "mesh" | "config" | "vault" | "sys" => 2,
        "daemon" => 3,
        "proxy" | "coordinator" | "publisher" | "watchdog" | "ctl" | "lab" => 4,
        "bin" => 5,
        _ => return None,
    })
}

/// Arrows go down only, and siblings do not import each other.
fn floors(sources: &[Source]) -> Vec<String> {
    let mut bad = Vec::new();
    for source in sources.iter().filter(|s| !s.module.is_empty()) {
        let Some(own) = floor(source.room()) else {
            bad.push(format!("{}: the house has no room named `{}`", source.path, source.room()));
            continue;
        };
        for arrow in source.arrows() {
            let Some(target) = arrow.first() else { continue };
            if target == source.room() {
                if own == 1 {
                    bad.extend(inside_proto(source, &arrow));
                }
            } else if let Some(theirs) = floor(target).filter(|theirs| *theirs >= own) {
                bad.push(format!("{}: floor {own} imports `{target}` on floor {theirs}", source.path));
            }
        }
    }
    bad
}

fn inside_proto(source: &Source, arrow: &[String]) -> Option<String> {
    let (own, target) = (source.module.get(1)?, arrow.get(1)?);
    let allowed = own == target || (GROUND.contains(&target.as_str()) && !GROUND.contains(&own.as_str()));
    (!allowed).then(|| format!("{}: `proto::{own}` imports its sibling `proto::{target}`", source.path))
}

/// `proto` decides and does nothing else.
fn purity(sources: &[Source]) -> Vec<String> {
    struct Names(BTreeSet<String>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
            if !is_test_only(&item.attrs) {
                visit::visit_item_mod(self, item);
            }
        }
        fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
            self.0.insert(ident.to_string());
        }
        fn visit_path(&mut self, path: &'ast syn::Path) {
            let names: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
            for clock_or_dice in ["Instant::now", "rand::rng"] {
                if names.join("::").ends_with(clock_or_dice) {
                    self.0.insert(clock_or_dice.to_owned());
                }
            }
            visit::visit_path(self, path);
        }
        fn visit_signature(&mut self, signature: &'ast syn::Signature) {
            if signature.asyncness.is_some() {
                self.0.insert("async".to_owned());
            }
            visit::visit_signature(self, signature);
        }
    }
    let mut bad = Vec::new();
    for source in sources.iter().filter(|s| s.room() == "proto") {
        let mut names = Names(BTreeSet::new());
        names.visit_file(&source.syntax);
        let impure = |n: &&String| {
            IMPURE.contains(&n.as_str()) || matches!(n.as_str(), "Instant::now" | "rand::rng" | "async")
        };
        bad.extend(names.0.iter().filter(impure).map(|n| format!("{}: names `{n}`", source.path)));
    }
    bad
}

/// No circle of files inside a room: what imports each other in a ring is one file in pieces.
fn circles(sources: &[Source]) -> Vec<String> {
    let files: BTreeSet<Vec<String>> = sources.iter().map(|s| s.module.clone()).collect();
    let defines = |arrow: &[String]| {
        (1..=arrow.len()).rev().map(|n| arrow[..n].to_vec()).find(|prefix| files.contains(prefix))
    };
    let graph: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = sources
        .iter()
        .map(|s| {
            (
                s.module.clone(),
                s.arrows().iter().filter_map(|a| defines(a)).filter(|t| *t != s.module).collect(),
            )
        })
        .collect();
    let mut left: BTreeSet<_> = graph.keys().cloned().collect();
    // Take away files that import nothing that is left, until nothing changes: what stays stands in a circle.
    loop {
        let free: Vec<_> =
            left.iter().filter(|m| graph[*m].iter().all(|t| !left.contains(t))).cloned().collect();
        if free.is_empty() {
            break;
        }
        left.retain(|m| !free.contains(m));
    }
    left.iter().map(|m| format!("{} stands in (or above) a circle of imports", m.join("::"))).collect()
}

/// Files and functions that can be read in one sitting.
fn sizes(sources: &[Source]) -> Vec<String> {
    struct Functions<'a>(&'a str, Vec<String>);
    impl Functions<'_> {
        fn check(&mut self, name: &syn::Ident, block: &syn::Block) {
            let lines = block.span().end().line - block.span().start().line + 1;
            if lines > MAX_FUNCTION_LINES {
                self.1.push(format!("{}: `{name}` has {lines} lines", self.0));
            }
        }
    }
    impl<'ast> Visit<'ast> for Functions<'_> {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            self.check(&item.sig.ident, &item.block);
            visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
            self.check(&item.sig.ident, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }
    let mut bad = Vec::new();
    for source in sources {
        let tests: usize = source
            .syntax
            .items
            .iter()
            .filter_map(|item| match item {
                syn::Item::Mod(m) if is_test_only(&m.attrs) => {
                    Some(m.span().end().line - m.span().start().line + 1)
                }
                _ => None,
            })
            .sum();
        let lines = source.text.lines().count() - tests;
        if lines > MAX_FILE_LINES {
            bad.push(format!("{}: {lines} lines without its tests", source.path));
        }
        let mut functions = Functions(&source.path, Vec::new());
        functions.visit_file(&source.syntax);
        bad.extend(functions.1);
    }
    bad
}

/// Names that mean something, definitions imported from where they stand, `unsafe` behind one door.
fn manners(sources: &[Source]) -> Vec<String> {
    let mut bad = Vec::new();
    for source in sources {
        if let Some(name) = source.module.iter().find(|part| EMPTY_NAMES.contains(&part.as_str())) {
            bad.push(format!("{}: `{name}` says nothing about what is inside", source.path));
        }
        let reexports = |item: &syn::Item| matches!(item, syn::Item::Use(u) if !matches!(u.vis, syn::Visibility::Inherited));
        if source.syntax.items.iter().any(reexports) {
            bad.push(format!("{}: re-exports; import from the file that defines", source.path));
        }
        if source.room() != "sys" && source.text.contains("allow(unsafe_code)") {
            bad.push(format!("{}: `unsafe` outside `sys`", source.path));
        }
    }
    bad
}

fn house() -> Vec<Source> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    files.sort();
    assert!(files.len() > 10, "the house was not found under {}", root.display());
    files
        .iter()
        .map(|f| {
            Source::new(f.strip_prefix(root).unwrap().to_str().unwrap(), &fs::read_to_string(f).unwrap())
        })
        .collect()
}

macro_rules! law {
    ($($name:ident = $rule:ident;)*) => {$(
        #[test]
        fn $name() {
            let bad = $rule(&house());
            assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
        }
    )*};
}

law! {
    arrows_go_down_and_siblings_keep_apart = floors;
    proto_is_pure = purity;
    no_circle_of_files = circles;
    files_and_functions_are_short = sizes;
    names_doors_and_unsafe = manners;
}

/// Each rule, seen to fail.
mod rules {
    use super::*;

    fn one(path: &str, text: &str) -> Vec<Source> {
        vec![Source::new(path, text)]
    }

    #[test]
    fn an_arrow_up_is_seen_in_use_code_and_macros() {
        for text in [
            "use crate::{tor::{controller::Controller}};",
            "fn f() { crate::tor::connect(); }",
            "fn f() { select! { x = crate::tor::connect() => x } }",
        ] {
            assert_eq!(floors(&one("src/proto/onion/period.rs", text)).len(), 1, "{text}");
        }
        assert_eq!(floors(&one("src/tor/a.rs", "use crate::ipc::frame::Frame;")).len(), 1);
        assert_eq!(floors(&one("src/tor/a.rs", "use super::super::ipc::frame::Frame;")).len(), 1);
        assert_eq!(floors(&one("src/cellar/a.rs", "")).len(), 1);
        assert!(floors(&one("src/tor/a.rs", "use crate::proto::onion::address::HsId;")).is_empty());
        assert!(floors(&one("src/bin/x.rs", "fn main() { rustbalance::proxy::run() }")).is_empty());
    }

    #[test]
    fn siblings_inside_proto_keep_apart() {
        assert_eq!(floors(&one("src/proto/publish/a.rs", "use crate::proto::cluster::record::X;")).len(), 1);
        assert_eq!(floors(&one("src/proto/onion/a.rs", "use crate::proto::publish::order::X;")).len(), 1);
        assert!(floors(&one("src/proto/publish/a.rs", "use crate::proto::onion::hsdir::HsDir;")).is_empty());
    }

    #[test]
    fn impurity_is_seen_but_not_in_tests() {
        for text in [
            "use std::collections::HashMap;",
            "fn f() { std::time::Instant::now(); }",
            "async fn f() {}",
            "use std::fs::read;",
            "fn f() { rand::rng(); }",
        ] {
            assert_eq!(purity(&one("src/proto/a.rs", text)).len(), 1, "{text}");
        }
        let test_only = "#[cfg(test)] mod tests { use std::collections::HashMap; }";
        assert!(purity(&one("src/proto/a.rs", test_only)).is_empty());
        assert!(purity(&one("src/proto/a.rs", "fn f(now: std::time::Instant) {}")).is_empty());
    }

    #[test]
    fn a_circle_is_seen() {
        let ring = vec![
            Source::new("src/tor/a.rs", "use super::b::B;"),
            Source::new("src/tor/b.rs", "use crate::tor::c::C;"),
            Source::new("src/tor/c.rs", "use super::a::A;"),
        ];
        assert_eq!(circles(&ring).len(), 3);
        assert!(circles(&ring[..2]).is_empty());
    }

    #[test]
    fn length_is_seen() {
        let long = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(MAX_FUNCTION_LINES));
        assert_eq!(sizes(&one("src/tor/a.rs", &long)).len(), 1);
        assert_eq!(sizes(&one("src/tor/a.rs", &"// x\n".repeat(MAX_FILE_LINES + 1))).len(), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(MAX_FILE_LINES));
        assert!(sizes(&one("src/tor/a.rs", &tests)).is_empty());
    }

    #[test]
    fn bad_manners_are_seen() {
        assert_eq!(manners(&one("src/tor/helpers.rs", "")).len(), 1);
        assert_eq!(manners(&one("src/tor/mod.rs", "pub use self::a::A;")).len(), 1);
        assert_eq!(manners(&one("src/tor/a.rs", "#![allow(unsafe_code)]")).len(), 1);
    }
}
