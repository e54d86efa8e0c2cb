//! `rustbalance token create` and `rustbalance join`: from one node's files to another's.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustbalance::config::file::Config;
use rustbalance::mesh::keyring::Keyring;
use rustbalance::mesh::token::ClusterToken;
use rustbalance::mesh::tunnel::TunnelPrefix;
use rustbalance::proto::cluster::memory::Memory;
use rustbalance::proto::cluster::note::Note;
use rustbalance::proto::join::invitation::{Invitation, InvitedTiming};
use rustbalance::proto::join::secret::JoinSecret;
use rustbalance::proto::join::ticket::Ticket;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::vault::armour;
use rustbalance::vault::cost::Cost;
use rustbalance::vault::passphrase::Passphrase;
use rustbalance::vault::sealed::{Content, Sealed};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::terminal::tool_on_terminal;
use crate::tool::{
    CANNOT_CREATE, CONFIG, DATA, PERMISSION, USAGE, answer, complaint, complaint_of, content, private, text,
    with_input,
};

const PASSPHRASE: &str = "correct horse battery staple";

/// A founder's files, and a passphrase.
struct Founder {
    place: TempDir,
    directory: PathBuf,
    config: PathBuf,
    passphrase: PathBuf,
}

impl Founder {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        let (directory, passphrase) = (place.path().join("alpha"), place.path().join("passphrase"));
        private(&passphrase, PASSPHRASE.as_bytes());
        let arguments = ["init", "--node-id", "alpha", "--target", "unix:/run/app.sock", "--port", "8080"];
        answer(&[&arguments[..], &["--directory", text(&directory)]].concat());
        let config = directory.join("config.toml");
        Self { place, directory, config, passphrase }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn create<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let arguments = ["token", "create", "--config", text(&self.config)];
        [&arguments[..], &["--passphrase-file", text(&self.passphrase)], more].concat()
    }

    fn join<'a>(&'a self, invitation: &'a Path, directory: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let arguments = ["join", text(invitation), "--directory", text(directory), "--node-id", "beta"];
        [&arguments[..], &["--passphrase-file", text(&self.passphrase)], more].concat()
    }
}

#[test]
fn an_invited_node_has_all_it_needs_and_its_own_wireguard_key() {
    let founder = Founder::new();
    let (invitation, beta) = (founder.path("invitation"), founder.path("beta"));
    let said = answer(&founder.create(&["--output", text(&invitation), "--expires", "15m", "--uses", "3"]));
    assert!(said.contains("lets 3 nodes in until"), "{said}");
    let sealed = std::fs::read_to_string(&invitation).unwrap();
    assert!(sealed.starts_with("-----BEGIN RUSTBALANCE INVITATION-----\n"), "{sealed}");
    assert_eq!(content(founder.place.path())["invitation"].0, 0o600);

    let said =
        answer(&founder.join(&invitation, &beta, &["--endpoint", "192.0.2.2:4000", "--priority", "20"]));
    let (old, new) = (content(&founder.directory), content(&beta));
    let names: Vec<&str> = new.keys().map(String::as_str).collect();
    let expected = [
        "cluster.token",
        "config.toml",
        "hs_ed25519_secret_key",
        "join.secret",
        "join.ticket",
        "wireguard.key",
    ];
    assert_eq!(names, expected);
    assert!(new.values().all(|(mode, _)| *mode == 0o600), "{new:?}");
    for same in ["cluster.token", "hs_ed25519_secret_key", "join.secret"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_ne!(old["wireguard.key"], new["wireguard.key"]);
    for secret in ["cluster.token", "join.secret", "join.ticket", "wireguard.key"] {
        let secret = std::str::from_utf8(&new[secret].1).unwrap().trim();
        assert!(!said.contains(&secret[..8]), "{said}");
    }

    let (alpha, beta) =
        (Config::load(&founder.config).unwrap(), Config::load(&beta.join("config.toml")).unwrap());
    assert_eq!(alpha.service("x").unwrap().address, beta.service("x").unwrap().address);
    assert_eq!((beta.node("x").unwrap().id.as_str(), beta.node("x").unwrap().priority.0), ("beta", 20));
    assert_eq!(alpha.proxy("x").unwrap().targets(), beta.proxy("x").unwrap().targets());
    assert_eq!(alpha.cluster("x").unwrap().timing(), beta.cluster("x").unwrap().timing());
    let join = beta.join().unwrap();
    assert_eq!((join.port, alpha.join().unwrap().port), (8080, 8080));
    // The ticket is one that this cluster issued, and the network is the one its nodes derive.
    let token = beta.cluster("x").unwrap().read_token(&Ok).unwrap();
    let token = ClusterToken::from_file_bytes(token.expose_secret().as_bytes()).unwrap();
    let ticket = join.read_ticket(&Ok).unwrap().unwrap();
    assert!(ticket.is_issued_under(&token.join_keys()));
    assert_eq!(ticket.uses(), 3);
    let in_minutes = Duration::from_millis(ticket.expires_ms())
        .saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
        .as_secs();
    assert!((14 * 60..=15 * 60).contains(&in_minutes), "{in_minutes}");
    let mesh = beta.mesh("x").unwrap();
    assert_eq!(mesh.prefix.unwrap().to_string(), TunnelPrefix::from_token(&token).to_string());
    assert_eq!((mesh.listen_port, mesh.endpoint), (4000, Some("192.0.2.2:4000".parse().unwrap())));
}

#[test]
fn a_node_whose_secrets_are_sealed_invites_as_well() {
    let founder = Founder::new();
    let clear = content(&founder.directory);
    let vault = founder.path("vault");
    private(&vault, b"seven words that seal this node's files");
    let secrets =
        ["hs_ed25519_secret_key", "cluster.token", "join.secret"].map(|name| founder.directory.join(name));
    let seal = [
        ["seal", "--passphrase-file", text(&vault)].to_vec(),
        secrets.iter().map(|path| text(path)).collect(),
    ];
    answer(&seal.concat());
    let mut lonely = std::process::Command::new("setsid");
    lonely.args(["--wait", env!("CARGO_BIN_EXE_rustbalance")]).args(founder.create(&[]));
    let said = complaint_of(CONFIG, lonely.env_remove("CREDENTIALS_DIRECTORY").output().unwrap());
    assert!(said.contains("it is sealed, and there is no passphrase: there is no terminal"), "{said}");

    let config = std::fs::read_to_string(&founder.config).unwrap();
    let example = "# for example: passphrase_file = \"/run/keys/rustbalance-passphrase\"";
    assert!(config.contains(example));
    let config = config.replace(example, &format!("passphrase_file = {:?}", text(&vault)));
    private(&founder.config, config.as_bytes());
    let (invitation, beta) = (founder.path("invitation"), founder.path("beta"));
    answer(&founder.create(&["--output", text(&invitation)]));
    answer(&founder.join(&invitation, &beta, &[]));
    let new = content(&beta);
    for same in ["cluster.token", "hs_ed25519_secret_key", "join.secret"] {
        assert_eq!(clear[same], new[same], "{same}");
    }
}

#[test]
fn an_invitation_travels_through_pipes_and_mail() {
    let founder = Founder::new();
    let invitation = answer(&founder.create(&[]));
    let mailed: String = format!("Dear beta,\n\n{invitation}\nyours\n")
        .lines()
        .flat_map(|line| ["> ", line, "\r\n"])
        .collect();
    let beta = founder.path("beta");
    let output = with_input(
        &founder.join(Path::new("-"), &beta, &["--target", "tcp://127.0.0.1:1"]),
        mailed.as_bytes(),
    );
    assert!(output.status.success(), "{output:?}");
    let config = Config::load(&beta.join("config.toml")).unwrap();
    assert_eq!(config.proxy("x").unwrap().targets()[0].address.to_string(), "127.0.0.1:1");
    // No two invitations are the same.
    assert_ne!(answer(&founder.create(&[])), invitation);
}

#[test]
fn the_new_node_carries_what_the_others_carry_and_where_they_do() {
    let founder = Founder::new();
    let config = std::fs::read_to_string(&founder.config).unwrap();
    let several = "targets = [{ address = \"unix:/run/app.sock\", weight = 3 }, { address = \"https://10.0.0.1:443\", \
                   verify = \"webpki\", roots = \"/etc/ssl/own.pem\" }]";
    let config = config
        .replace("target = \"unix:/run/app.sock\"", several)
        .replace("# mode = \"tcp\"", "mode = \"http\"")
        .replace("# eject_failures = 3", "eject_failures = 5")
        .replace("# max_connections = 1024", "max_connections = 12")
        .replace("# for example: error_page = ", "error_page = ");
    private(&founder.config, config.as_bytes());
    let invitation = founder.path("invitation");
    let output = with_input(&founder.create(&["--output", text(&invitation)]), b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("[proxy] error_page names a file") && said.contains("[proxy] roots names"),
        "{said}"
    );

    let (beta, gamma) = (founder.path("beta"), founder.path("gamma"));
    let said = answer(&founder.join(&invitation, &beta, &[]));
    assert!(said.contains("IPAddressAllow=10.0.0.1 "), "{said}");
    let written = std::fs::read_to_string(beta.join("config.toml")).unwrap();
    let alpha = Config::load(&founder.config).unwrap();
    let beta = Config::load(&beta.join("config.toml")).unwrap();
    let (old, new) = (alpha.proxy("x").unwrap(), beta.proxy("x").unwrap());
    assert_eq!((new.mode, new.max_connections, &new.error_page), (old.mode, 1024, &None), "{written}");
    assert_eq!(new.limits(), old.limits());
    let mut expected = old.targets();
    expected[1].roots = None;
    assert_eq!(new.targets(), expected);
    assert!(written.contains("\n# for example: error_page = "), "{written}");

    answer(&founder.join(&invitation, &gamma, &["--target", "unix:/run/other.sock"]));
    let gamma = Config::load(&gamma.join("config.toml")).unwrap();
    let gamma = gamma.proxy("x").unwrap();
    assert_eq!((gamma.mode, gamma.targets().len()), (old.mode, 1));
    assert_eq!(gamma.targets()[0].address.to_string(), "unix:/run/other.sock");
}

#[test]
fn a_timing_that_is_not_the_default_is_passed_on() {
    let founder = Founder::new();
    let config = std::fs::read_to_string(&founder.config).unwrap();
    let config = config
        .replace("# heartbeat_interval_secs = 0.5", "heartbeat_interval_secs = 10")
        .replace("# heartbeat_timeout_secs = 2", "heartbeat_timeout_secs = 30")
        .replace("# takeover_grace_secs = 0.5", "takeover_grace_secs = 90")
        .replace("# datagram_port = 51821", "datagram_port = 7000");
    private(&founder.config, config.as_bytes());
    let (invitation, beta) = (founder.path("invitation"), founder.path("beta"));
    answer(&founder.create(&["--output", text(&invitation)]));
    answer(&founder.join(&invitation, &beta, &[]));
    let beta = Config::load(&beta.join("config.toml")).unwrap();
    let cluster = beta.cluster("x").unwrap();
    assert_eq!(cluster.heartbeat_interval_secs.as_secs(), 10);
    assert_eq!(cluster.takeover_grace_secs.as_secs(), 90);
    assert_eq!(beta.mesh("x").unwrap().datagram_port, 7000);
}

#[test]
fn after_a_rotation_the_newest_token_is_passed_on_and_the_network_stays() {
    let founder = Founder::new();
    let state = founder.path("state");
    let config = std::fs::read_to_string(&founder.config).unwrap();
    let line = "# state_directory = \"/var/lib/rustbalance/coordinator\"";
    assert!(config.contains(line));
    let config = config.replace(line, &format!("state_directory = {:?}", text(&state)));
    private(&founder.config, config.as_bytes());
    let mut keyring = {
        let config = Config::load(&founder.config).unwrap();
        Keyring::new(0, config.cluster("x").unwrap().read_token(&Ok).unwrap().expose_secret()).unwrap()
    };
    let first = keyring.token(keyring.newest().0).unwrap();
    let mut memory = Memory::default();
    for at_ms in 1..=2 {
        let rotation = keyring.rotate(&mut rand::rng(), at_ms).unwrap();
        keyring.adopt(&rotation).unwrap();
        memory.notes.insert(0, Note::Rotation(rotation));
    }
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("memory.json"), serde_json::to_vec(&memory).unwrap()).unwrap();
    let (invitation, beta) = (founder.path("invitation"), founder.path("beta"));
    answer(&founder.create(&["--output", text(&invitation)]));
    answer(&founder.join(&invitation, &beta, &[]));
    let beta = Config::load(&beta.join("config.toml")).unwrap();
    let cluster = beta.cluster("x").unwrap();
    let (name, newest) = keyring.newest();
    assert_eq!((cluster.token_seq, name.seq), (2, 2));
    assert_eq!(cluster.read_token(&Ok).unwrap().expose_secret(), newest.as_str());
    let prefix = beta.mesh("x").unwrap().prefix.unwrap().to_string();
    assert_eq!(prefix, TunnelPrefix::from_token(&first).to_string());
    let ticket = beta.join().unwrap().read_ticket(&Ok).unwrap().unwrap();
    assert!(ticket.is_issued_under(&keyring.token(name).unwrap().join_keys()));

    std::fs::write(state.join("memory.json"), "{").unwrap();
    let refused = complaint(PERMISSION, &founder.create(&[]));
    assert!(refused.contains("memory.json"), "{refused}");
}

#[test]
fn a_generated_passphrase_is_shown_on_the_terminal_only() {
    let founder = Founder::new();
    let arguments = ["token", "create", "--config", text(&founder.config), "--generate-passphrase"];
    let (screen, output) = tool_on_terminal(&arguments, &[]);
    let invitation = String::from_utf8(output.stdout).unwrap();
    let passphrase = screen.trim().strip_prefix("Passphrase, shown this once: ").unwrap();
    assert_eq!(passphrase.len(), 29, "{screen}");
    assert!(!invitation.contains(passphrase) && invitation.contains("BEGIN RUSTBALANCE"), "{invitation}");
    let file = founder.path("invitation");
    private(&file, invitation.as_bytes());
    let beta = founder.path("beta");
    let join = ["join", text(&file), "--directory", text(&beta), "--node-id", "beta"];
    let (screen, output) =
        tool_on_terminal(&join, &[("Passphrase of the invitation: ", &format!("{passphrase}\n"))]);
    assert!(output.status.success() && !screen.contains(passphrase), "{screen} {output:?}");
    // Nobody to show it to.
    let mut lonely = std::process::Command::new("setsid");
    let lonely = lonely.args(["--wait", env!("CARGO_BIN_EXE_rustbalance")]).args(arguments).output().unwrap();
    assert!(complaint_of(USAGE, lonely).contains("there is no terminal"));
}

#[test]
fn what_does_not_open_or_is_no_invitation_leaves_nothing_behind() {
    let founder = Founder::new();
    let (invitation, beta) = (founder.path("invitation"), founder.path("beta"));
    answer(&founder.create(&["--output", text(&invitation)]));
    let said = complaint(CANNOT_CREATE, &founder.create(&["--output", text(&invitation)]));
    assert!(said.contains("left alone"), "{said}");

    let other = founder.path("other");
    private(&other, b"another passphrase entirely");
    let wrong = ["--passphrase-file", text(&other), "--directory", text(&beta), "--node-id", "beta"];
    let refused = |arguments: &[&str], code| {
        let said = complaint(code, arguments);
        assert!(!beta.exists(), "{said}");
        said
    };
    let said = refused(&[&["join", text(&invitation)], &wrong[..]].concat(), DATA);
    assert!(said.contains("passphrase is wrong"), "{said}");
    // A sealed file is no invitation, and an invitation is not unsealed into the open.
    let sealed = founder.path("sealed");
    private(&sealed, b"secret");
    answer(&["seal", text(&sealed), "--passphrase-file", text(&founder.passphrase)]);
    let said = refused(&founder.join(&sealed, &beta, &[]), DATA);
    assert!(said.contains("holds a sealed file, not an invitation"), "{said}");
    let said =
        complaint(DATA, &["unseal", text(&invitation), "--passphrase-file", text(&founder.passphrase)]);
    assert!(said.contains("holds an invitation"), "{said}");
    let said = refused(&founder.join(&founder.config, &beta, &[]), DATA);
    assert!(said.contains("nothing sealed"), "{said}");

    std::fs::create_dir(&beta).unwrap();
    private(&beta.join("join.ticket"), b"mine");
    let said = complaint(CANNOT_CREATE, &founder.join(&invitation, &beta, &[]));
    assert!(said.contains("join.ticket") && content(&beta).len() == 1, "{said}");
}

/// An invitation made by hand, as `token create` makes none.
fn invitation(founder: &Founder, change: impl FnOnce(&mut Invitation)) -> PathBuf {
    let master_key = HsIdKeypair::from_seed([42; 32]).unwrap();
    let token = "a token of the cluster, long enough";
    let keys = ClusterToken::from_file_bytes(token.as_bytes()).unwrap().join_keys();
    let timing = InvitedTiming {
        heartbeat_interval_ms: 500,
        heartbeat_timeout_ms: 2000,
        takeover_grace_ms: 500,
        token_overlap_ms: 86_400_000,
    };
    let mut invitation = Invitation {
        address: master_key.hs_id(),
        port: 80,
        join_secret: JoinSecret::from_text(&"A".repeat(43)).unwrap(),
        cluster_token: Zeroizing::new(token.to_owned()),
        token_seq: 2,
        prefix: "fd12:3456:789a::".parse().unwrap(),
        master_key,
        ticket: Ticket::issue(&keys, [7; 16], u64::MAX / 2, 1),
        proxy: "target = \"tcp://127.0.0.1:80\"\n".to_owned(),
        timing,
        listen_port: 51820,
        datagram_port: 51821,
    };
    change(&mut invitation);
    let passphrase = Passphrase::new(PASSPHRASE).unwrap();
    let bytes = invitation.to_bytes().unwrap();
    let sealed =
        Sealed::seal(Content::Invitation, &bytes, &passphrase, Cost::DEFAULT, &mut rand::rng()).unwrap();
    let path = founder.path("by-hand");
    private(&path, armour::write(&sealed).as_bytes());
    path
}

#[test]
fn an_old_or_impossible_invitation_is_refused_with_its_reason() {
    let founder = Founder::new();
    let beta = founder.path("beta");
    let keys = ClusterToken::from_file_bytes(&[b'x'; 32]).unwrap().join_keys();
    let old = invitation(&founder, |made| made.ticket = Ticket::issue(&keys, [7; 16], 1_700_000_000_000, 1));
    let said = complaint(DATA, &founder.join(&old, &beta, &[]));
    assert!(said.contains("2023-11-14") && said.contains("another one made"), "{said}");
    let odd = invitation(&founder, |made| made.timing.heartbeat_timeout_ms = 1);
    let said = complaint(DATA, &founder.join(&odd, &beta, &[]));
    assert!(said.contains("heartbeat_timeout_secs"), "{said}");
    let odd = invitation(&founder, |made| made.proxy = "target = 'nonsense \" ['\n".to_owned());
    let said = complaint(CONFIG, &founder.join(&odd, &beta, &[]));
    assert!(said.contains("proxy.target"), "{said}");
    assert!(!beta.exists());
    // And one that is well says which token it brings.
    let good = invitation(&founder, |_| {});
    answer(&founder.join(&good, &beta, &[]));
    assert_eq!(Config::load(&beta.join("config.toml")).unwrap().cluster("x").unwrap().token_seq, 2);
}

#[test]
fn a_node_that_cannot_invite_says_why() {
    let founder = Founder::new();
    let config = std::fs::read_to_string(&founder.config).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        private(&founder.config, config.replace(from, to).as_bytes());
        complaint(CONFIG, &founder.create(&[]))
    };
    let said = changed("\nsecret_file", "\n# secret_file");
    assert!(said.contains("join.secret_file: is missing"), "{said}");
    let said = changed("# token_seq = 0", "token_seq = 1");
    assert!(said.contains("mesh.prefix: is missing"), "{said}");
    let other = HsIdKeypair::from_seed([1; 32]).unwrap().hs_id().to_string();
    let own = Config::load(&founder.config).unwrap().service("x").unwrap().address.to_string();
    let said = changed(&own, &other);
    assert!(said.contains("holds the key of"), "{said}");
    private(&founder.config, config.as_bytes());
    for (wrong, reason) in [
        (["--expires", "1s"], "30 days"),
        (["--expires", "soon"], "for example 90s"),
        (["--uses", "0"], "1..=50"),
    ] {
        let said = complaint(USAGE, &founder.create(&wrong));
        assert!(said.contains(reason), "{said}");
    }
}
