//! `rustbalance join`: a new node, from an invitation.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;

use crate::config::mesh::Prefix;
use crate::ctl::answer::Line;
use crate::ctl::error::CtlError;
use crate::ctl::files::NewFiles;
use crate::ctl::init::{NodeArguments, checked_target, with_line_end};
use crate::ctl::input::{STANDARD_INPUT, read_text};
use crate::ctl::moment::Moment;
use crate::ctl::next_steps::NextSteps;
use crate::ctl::node_files::{CONFIG, JOIN_SECRET, MASTER_KEY, Settings, TICKET, TOKEN, WIREGUARD_KEY};
use crate::ctl::passphrase::PassphraseSource;
use crate::ctl::proxy_part::ProxyPart;
use crate::mesh::wireguard_key::WireGuardKey;
use crate::proto::cluster::timing::Timing;
use crate::proto::join::invitation::{Invitation, InvitationError};
use crate::vault::armour::{self, MAX_TEXT_BYTES};
use crate::vault::sealed::{Content, OpenError};

/// The invitation, and what the new node is to be.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance join invitation.txt --node-id gamma --endpoint 192.0.2.3:51820
  rustbalance join --node-id gamma < invitation.txt

The node joins when its daemons are started; until then nothing is asked of the cluster, and the invitation is not \
spent.")]
pub struct Arguments {
    /// The invitation that `rustbalance token create` made; - reads standard input
    #[arg(value_name = "FILE", default_value = STANDARD_INPUT)]
    invitation: PathBuf,
    /// Where connections are carried to [default: where the inviting node carries them]
    #[arg(long, value_name = "TARGET", value_parser = checked_target)]
    target: Option<String>,
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl Arguments {
    /// Opens the invitation and makes the node's files.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let directory = self.node.directory()?;
        NewFiles::check(&directory, &[CONFIG, MASTER_KEY, TOKEN, JOIN_SECRET, TICKET, WIREGUARD_KEY])?;
        let node = self.node.node()?;
        let invitation = self.open()?;
        let until = Moment::from_unix_secs(invitation.ticket.expires_ms() / 1000);
        if until <= Moment::now() {
            return Err(CtlError::Expired { until });
        }
        let wireguard_key = WireGuardKey::generate(&mut rand::rng());
        let settings = Settings {
            directory: &directory,
            node: &node,
            priority: self.node.priority(),
            address: invitation.address,
            proxy: &self.proxy(&invitation)?,
            port: invitation.port,
            listen_port: self.node.listen_port().unwrap_or(invitation.listen_port),
            endpoint: self.node.endpoint(),
            datagram_port: invitation.datagram_port,
            prefix: Some(Prefix(invitation.prefix)),
            token_seq: invitation.token_seq,
            timing: timing(&invitation)?,
            token_overlap: Duration::from_millis(invitation.timing.token_overlap_ms),
            invited: true,
        };
        let configuration = settings.text()?;
        let mut files = NewFiles::new(&directory);
        files.add(MASTER_KEY, &*invitation.master_key.to_tor_secret_key_file());
        files.add(TOKEN, with_line_end(&invitation.cluster_token).as_bytes());
        files.add(JOIN_SECRET, with_line_end(&invitation.join_secret.to_text()).as_bytes());
        files.add(TICKET, with_line_end(&invitation.ticket.to_string()).as_bytes());
        files.add(WIREGUARD_KEY, with_line_end(&wireguard_key.to_base64()).as_bytes());
        // Last: where it is, the others are.
        files.add(CONFIG, configuration.as_bytes());
        files.make()?;
        writeln!(out, "{}", Line("address", invitation.address))?;
        writeln!(out, "{}", Line("node", &node))?;
        writeln!(out, "{}", Line("configuration", directory.join(CONFIG).display()))?;
        writeln!(out, "{}", Line("invited until", until))?;
        Ok(write!(out, "{}", NextSteps(&settings))?)
    }

    /// What this node carries, and where to.
    fn proxy(&self, invitation: &Invitation) -> Result<ProxyPart, CtlError> {
        let part = ProxyPart::parse(&invitation.proxy).map_err(|_| InvitationError::Malformed)?;
        Ok(match &self.target {
            Some(target) => part.aimed_at(target),
            None => part,
        })
    }

    fn open(&self) -> Result<Invitation, CtlError> {
        let wrong = |source: OpenError| CtlError::Open { path: self.invitation.clone(), source };
        let text = read_text(&self.invitation, MAX_TEXT_BYTES)?;
        let sealed =
            armour::read(&text).and_then(|sealed| sealed.expect(Content::Invitation)).map_err(wrong)?;
        let passphrase = self.passphrase.passphrase("Passphrase of the invitation: ")?;
        let opened = sealed.open(&passphrase).map_err(wrong)?;
        Ok(Invitation::from_bytes(opened.expose_secret())?)
    }
}

/// The cluster's periods; this node must have the same.
fn timing(invitation: &Invitation) -> Result<Timing, CtlError> {
    let timing = invitation.timing;
    let [interval, timeout, grace] =
        [timing.heartbeat_interval_ms, timing.heartbeat_timeout_ms, timing.takeover_grace_ms]
            .map(Duration::from_millis);
    Timing::new(interval, timeout, grace).map_err(CtlError::InvitedTiming)
}
