//! `rustbalance init`.

use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use rustbalance::config::file::Config;
use rustbalance::proto::join::secret::JoinSecret;
use tempfile::TempDir;

use crate::tool::{CANNOT_CREATE, CONFIG, DATA, USAGE, answer, complaint, content, private, text};

const TARGET: &str = "tcp://127.0.0.1:8080";
const SEED: [u8; 32] = [42; 32];

fn init(directory: &Path, more: &[&str]) -> String {
    answer(
        &[&["init", "--directory", text(directory), "--target", TARGET, "--node-id", "alpha"], more].concat(),
    )
}

#[test]
fn a_new_cluster_is_complete_private_and_shows_no_secret() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("etc");
    let said = init(&directory, &["--priority", "10", "--endpoint", "192.0.2.1:4000"]);
    let files = content(&directory);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = ["cluster.token", "config.toml", "hs_ed25519_secret_key", "join.secret", "wireguard.key"];
    assert_eq!(names, expected);
    assert!(files.values().all(|(mode, _)| *mode == 0o600), "{files:?}");
    for secret in ["cluster.token", "join.secret", "wireguard.key"] {
        let secret = std::str::from_utf8(&files[secret].1).unwrap().trim();
        assert!(!said.contains(&secret[..8]), "{said}");
    }
    let key = &files["hs_ed25519_secret_key"].1[32..];
    for form in [HEXLOWER.encode(key), BASE64.encode(key)] {
        assert!(!said.contains(&form[..10]), "{said}");
    }

    // Every daemon finds what it needs.
    let config = Config::load(&directory.join("config.toml")).unwrap();
    assert_eq!(config.node("x").unwrap().id.as_str(), "alpha");
    let mesh = config.mesh("x").unwrap();
    assert_eq!((mesh.listen_port, mesh.endpoint), (4000, Some("192.0.2.1:4000".parse().unwrap())));
    mesh.read_private_key(&Ok).unwrap();
    config.cluster("x").unwrap().read_token(&Ok).unwrap();
    let secret = std::str::from_utf8(&files["join.secret"].1).unwrap();
    assert_eq!(JoinSecret::from_text(secret).unwrap().to_text().len(), 43);
    let address = config.service("x").unwrap().address.to_string();
    let asked = answer(&["inspect", "address", text(&directory)]);
    assert!(asked.contains(&address) && said.contains(&address), "{asked}{said}");
}

#[test]
fn the_next_steps_are_those_of_this_node() {
    let place = TempDir::new().unwrap();
    let tcp = init(&place.path().join("tcp"), &["--port", "8080"]);
    for step in ["optional/rustbalance-proxy.service.d", "HiddenServicePort 8080 unix:", "--config /"] {
        assert!(tcp.contains(step), "{step}: {tcp}");
    }
    assert!(tcp.contains("\n7. Invite more nodes"), "{tcp}");
    assert!(!tcp.contains("IPAddressAllow"), "{tcp}");
    let far = place.path().join("far");
    let far = ["init", "--node-id", "alpha", "--target", "tcp://192.0.2.5:80", "--directory", text(&far)];
    assert!(answer(&far).contains("IPAddressAllow=192.0.2.5"));
    let directory = place.path().join("unix");
    let unix = answer(&[
        "init",
        "--node-id",
        "alpha",
        "--target",
        "unix:/run/web.sock",
        "--directory",
        text(&directory),
    ]);
    for step in ["optional/", "HiddenServicePort"] {
        assert!(!unix.contains(step), "{step}: {unix}");
    }
    let drop_in = "nixos/units/optional/rustbalance-proxy.service.d/tcp-target.conf";
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(drop_in).exists());
}

#[test]
fn two_clusters_share_nothing() {
    let place = TempDir::new().unwrap();
    let (one, two) = (place.path().join("one"), place.path().join("two"));
    init(&one, &[]);
    init(&two, &[]);
    let (one, two) = (content(&one), content(&two));
    assert!(one.iter().all(|(name, file)| file.1 != two[name].1), "{one:?}");
}

/// The example in the repository is what init writes, but for names.
#[test]
fn the_example_is_what_init_writes() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("etc");
    let example = include_str!("../data/config.toml");
    let between = |from: &str, to: &str| {
        let from = example.find(from).unwrap() + from.len();
        &example[from..from + example[from..].find(to).unwrap()]
    };
    let target = between("\ntarget = \"", "\"");
    let arguments = ["init", "--directory", text(&directory), "--node-id", "alpha", "--priority", "10"];
    answer(&[&arguments[..], &["--target", target]].concat());
    let written = std::fs::read_to_string(directory.join("config.toml")).unwrap();
    let address =
        Config::load(&directory.join("config.toml")).unwrap().service("x").unwrap().address.to_string();
    let written = written
        .replace(&address, between("\naddress = \"", "\""))
        .replace(text(&directory), "/etc/rustbalance");
    assert_eq!(written, example, "\nbring tests/data/config.toml in step with src/ctl/node_files.rs");
}

#[test]
fn a_key_is_taken_over_in_any_form() {
    let place = TempDir::new().unwrap();
    let hex = place.path().join("hex");
    private(&hex, HEXLOWER.encode(&SEED).as_bytes());
    let first = place.path().join("first");
    init(&first, &["--master-key", text(&hex)]);
    // Tor's file, by its directory.
    let second = place.path().join("second");
    init(&second, &["--master-key", text(&first)]);
    let key = |directory: &Path| content(directory)["hs_ed25519_secret_key"].clone();
    assert_eq!(key(&first), key(&second));
    assert!(answer(&["inspect", "address", text(&hex)]).contains(
        &Config::load(&second.join("config.toml")).unwrap().service("x").unwrap().address.to_string()
    ));
}

#[test]
fn what_is_there_is_left_alone() {
    let place = TempDir::new().unwrap();
    for name in ["config.toml", "hs_ed25519_secret_key", "cluster.token", "join.secret", "wireguard.key"] {
        let directory = place.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        private(&directory.join(name), b"mine");
        let before = content(&directory);
        let said = complaint(
            CANNOT_CREATE,
            &["init", "--target", TARGET, "--node-id", "alpha", "--directory", text(&directory)],
        );
        assert!(said.contains(name) && said.contains("left alone"), "{said}");
        assert_eq!(content(&directory), before);
    }
}

#[test]
fn a_mistake_leaves_nothing_behind() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("etc");
    let refused = |code, more: &[&str]| {
        let said = complaint(code, &[&["init", "--directory", text(&directory)], more].concat());
        assert!(!directory.exists(), "{said}");
        said
    };
    let key = place.path().join("key");
    private(&key, &SEED);
    let address = answer(&["inspect", "address", text(&key)]);
    let address = address.split_whitespace().find(|word| word.len() == 62).unwrap().to_owned();
    let own = format!("http://{address}");
    let said = refused(CONFIG, &["--node-id", "a", "--target", &own, "--master-key", text(&key)]);
    assert!(said.contains("the master address itself"), "{said}");
    private(&key, b"no key");
    let said = refused(DATA, &["--node-id", "a", "--target", TARGET, "--master-key", text(&key)]);
    assert!(said.contains("no onion service key"), "{said}");
    let said = refused(USAGE, &["--target", "localhost:80"]);
    assert!(said.contains("tcp://ip:port"), "{said}");
    let said = refused(USAGE, &["--target", TARGET, "--node-id", "Alpha"]);
    assert!(said.contains("a-z"), "{said}");
    let nowhere = place.path().join("no/such/place");
    let said = complaint(
        CANNOT_CREATE,
        &["init", "--node-id", "a", "--target", TARGET, "--directory", text(&nowhere)],
    );
    assert!(said.contains("nothing was left behind"), "{said}");
    assert_eq!(content(place.path()).len(), 1);
}
