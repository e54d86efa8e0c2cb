//! `rustbalance token create`.

use std::io::{ErrorKind, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rand::RngExt;
use secrecy::ExposeSecret;

use crate::config::cluster::{Cluster, MEMORY_FILE};
use crate::config::file::{Config, DEFAULT_PATH};
use crate::config::mesh::{Mesh, Prefix};
use crate::config::secret::Unseal;
use crate::ctl::error::CtlError;
use crate::ctl::files::{NewFiles, make_file};
use crate::ctl::input::{STANDARD_INPUT, read_toml};
use crate::ctl::moment::Moment;
use crate::ctl::passphrase::{NoPassphrase, PassphraseSource, passphrase_of_node};
use crate::ctl::proxy_part::ProxyPart;
use crate::ctl::span;
use crate::mesh::keyring::Keyring;
use crate::mesh::token::ClusterToken;
use crate::mesh::tunnel::TunnelPrefix;
use crate::proto::cluster::memory::Memory;
use crate::proto::cluster::note::{Note, Rotation};
use crate::proto::join::invitation::{Invitation, InvitedTiming};
use crate::proto::join::ticket::Ticket;
use crate::proto::onion::identity::HsIdKeypair;
use crate::sys::clock::unix_ms;
use crate::vault::armour;
use crate::vault::cost::Cost;
use crate::vault::opener::Opener;
use crate::vault::passphrase::Passphrase;
use crate::vault::sealed::{Content, Sealed};
use crate::vault::terminal::Terminal;

/// Who asks for sections of the configuration.
const TOOL: &str = "rustbalance token create";
/// The longest life of an invitation. It holds the master key: it should be used, and then be gone.
const MAX_EXPIRES: Duration = Duration::from_hours(30 * 24);
/// A shorter life is over before the invitation has arrived.
const MIN_EXPIRES: Duration = Duration::from_mins(1);
/// The most nodes that one invitation lets in: those of a large cluster. Whoever needs more makes another one.
const MAX_USES: i64 = 50;

/// The invitation that is wanted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance token create --output invitation.txt
  rustbalance token create --generate-passphrase > invitation.txt
  rustbalance token create --expires 15m --uses 3 --passphrase-file /root/passphrase --output invitation.txt

Whoever has the invitation and its passphrase has the onion address: send them on different ways. The new node takes \
it with: rustbalance join")]
pub struct Arguments {
    /// How long it may be used, for example 30m, 12h or 2days
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = life)]
    expires: Duration,
    /// How many nodes it lets in
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=MAX_USES))]
    uses: u16,
    /// Where it is written: a new file, or - for standard output
    #[arg(long, value_name = "FILE", default_value = STANDARD_INPUT)]
    output: PathBuf,
    /// Make a passphrase up, and show it once, on the terminal only
    #[arg(long, conflicts_with_all = ["passphrase_file", "passphrase_credential", "passphrase_env"])]
    generate_passphrase: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// The configuration of this node
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

/// The life of an invitation.
fn life(text: &str) -> Result<Duration, String> {
    let life = span::parse(text)?;
    if (MIN_EXPIRES..=MAX_EXPIRES).contains(&life) {
        Ok(life)
    } else {
        Err("an invitation may live for a minute to 30 days".to_owned())
    }
}

impl Arguments {
    /// Makes the invitation and seals it.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        if self.output != Path::new(STANDARD_INPUT) {
            // Before a passphrase is shown, or asked for, in vain.
            NewFiles::check(Path::new(""), &[&self.output])?;
        }
        let invitation = self.invitation()?;
        let bytes = invitation.to_bytes()?;
        let passphrase = self.passphrase()?;
        let sealed = Sealed::seal(Content::Invitation, &bytes, &passphrase, Cost::DEFAULT, &mut rand::rng())
            .map_err(|source| CtlError::Seal { path: self.output.clone(), source })?;
        let text = armour::write(&sealed);
        if self.output == Path::new(STANDARD_INPUT) {
            out.write_all(text.as_bytes())?;
            return Ok(());
        }
        make_file(&self.output, text.as_bytes())?;
        let until = Moment::from_unix_secs(invitation.ticket.expires_ms() / 1000);
        let nodes = if self.uses == 1 { "one node".to_owned() } else { format!("{} nodes", self.uses) };
        Ok(writeln!(out, "{} lets {nodes} in until {until}", self.output.display())?)
    }

    /// All that a new node needs, as this node has it.
    fn invitation(&self) -> Result<Invitation, CtlError> {
        let config = Config::load(&self.config)?;
        let (service, cluster, mesh) = (config.service(TOOL)?, config.cluster(TOOL)?, config.mesh(TOOL)?);
        config.proxy(TOOL)?;
        let (proxy, files) = ProxyPart::of(read_toml(&self.config)?);
        for key in files {
            // Not a reason to fail, and the invitation itself may be going to standard output.
            let _ = writeln!(stderr(), "[proxy] {key} names a file of this node: give the new node one, too");
        }
        let secret_missing = || {
            config.refuse(
                &["join", "secret_file"],
                "is missing: no node of this cluster lets others in through here",
            )
        };
        let join = config.join().ok_or_else(secret_missing)?;
        let opener = Opener::new(|| passphrase_of_node(&config.vault).map_err(|error| error.to_string()));
        let unseal: Unseal<'_> = &|secret| opener.open(secret).map_err(|error| error.to_string());
        let join_secret = join.read_secret(unseal)?.ok_or_else(secret_missing)?;
        let lives = u64::try_from(self.expires.as_millis()).unwrap_or(u64::MAX);
        let expires_ms = unix_ms().saturating_add(lives);
        let key = service.master_key_file.read(unseal)?;
        let master_key = HsIdKeypair::from_any_form(key.expose_secret())
            .map_err(|error| config.refuse(&["service", "master_key_file"], error.to_string()))?;
        if master_key.hs_id() != service.address {
            let found = master_key.hs_id();
            return Err(config
                .refuse(&["service", "master_key_file"], format!("holds the key of {found}"))
                .into());
        }
        let mut keyring = Keyring::new(cluster.token_seq, cluster.read_token(unseal)?.expose_secret())
            .map_err(|error| config.refuse(&["cluster", "token_file"], error.to_string()))?;
        let first = keyring.newest().0;
        let prefix = prefix(&config, mesh, cluster, keyring.token(first).as_deref())?;
        keyring.catch_up(remembered(cluster)?.iter());
        let (name, text) = keyring.newest();
        let issue = |token: Arc<ClusterToken>| {
            Ticket::issue(&token.join_keys(), rand::rng().random(), expires_ms, self.uses)
        };
        // The newest one is always held.
        let ticket = keyring
            .token(name)
            .map(issue)
            .ok_or_else(|| config.refuse(&["cluster", "token_file"], "leads to no token"))?;
        let timing = timing(cluster);
        Ok(Invitation {
            address: service.address,
            port: join.port,
            join_secret,
            cluster_token: text,
            token_seq: name.seq,
            prefix: prefix.0,
            master_key,
            ticket,
            proxy: proxy.to_text(),
            timing,
            listen_port: mesh.listen_port,
            datagram_port: mesh.datagram_port,
        })
    }

    /// The passphrase to seal it under.
    fn passphrase(&self) -> Result<Passphrase, CtlError> {
        if self.generate_passphrase {
            let made = Passphrase::generate(&mut rand::rng());
            let show = |mut terminal: Terminal| terminal.show("Passphrase, shown this once: ", &made);
            Terminal::open().and_then(show).map_err(NoPassphrase::Terminal)?;
            return Ok(made);
        }
        Ok(self.passphrase.new_passphrase("Passphrase for the invitation: ")?)
    }
}

/// The orders for new tokens that this node's coordinator has heard of; none where it has not run yet.
fn remembered(cluster: &Cluster) -> Result<Vec<Rotation>, CtlError> {
    let path = cluster.state_directory.join(MEMORY_FILE);
    let failed = |reason: String| CtlError::Memory { path: path.clone(), reason };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let memory: Memory = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let rotations = memory.notes.into_iter().filter_map(|note| match note {
        Note::Rotation(rotation) => Some(rotation),
        Note::Admission(_) | Note::Departure(_) | Note::Drain(_) => None,
    });
    Ok(rotations.collect())
}

/// The network of tunnel addresses, which stays that of the cluster's first token.
fn prefix(
    config: &Config,
    mesh: &Mesh,
    cluster: &Cluster,
    token: Option<&ClusterToken>,
) -> Result<Prefix, CtlError> {
    match (mesh.prefix, token) {
        (Some(prefix), _) => Ok(prefix),
        (None, Some(token)) if cluster.token_seq == 0 => {
            let derived = TunnelPrefix::from_token(token).to_string();
            Ok(derived.parse().map_err(|error: String| config.refuse(&["mesh", "prefix"], error))?)
        }
        (None, _) => {
            let reason = "is missing: it does not follow from a token that is not the cluster's first";
            Err(config.refuse(&["mesh", "prefix"], reason).into())
        }
    }
}

/// The periods that all nodes share.
fn timing(cluster: &Cluster) -> InvitedTiming {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    InvitedTiming {
        heartbeat_interval_ms: ms(cluster.heartbeat_interval_secs),
        heartbeat_timeout_ms: ms(cluster.heartbeat_timeout_secs),
        takeover_grace_ms: ms(cluster.takeover_grace_secs),
        token_overlap_ms: ms(cluster.token_overlap_secs),
    }
}
