//! The files of a node: their names, and the text of its configuration.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::config::endpoint::Target;
use crate::config::file::{Config, ConfigError};
use crate::config::mesh::Prefix;
use crate::ctl::proxy_part::ProxyPart;
use crate::proto::cluster::timing::Timing;
use crate::proto::node::{NodeId, Priority};
use crate::proto::onion::address::HsId;

/// Where the files of a node are unless `--directory` says otherwise.
pub const DEFAULT_DIRECTORY: &str = "/etc/rustbalance";
/// The configuration.
pub const CONFIG: &str = "config.toml";
/// The service's secret identity key, in tor's form and under tor's name.
pub const MASTER_KEY: &str = "hs_ed25519_secret_key";
/// The cluster token.
pub const TOKEN: &str = "cluster.token";
/// The node's WireGuard key.
pub const WIREGUARD_KEY: &str = "wireguard.key";
/// The secret of the path at which joining is answered.
pub const JOIN_SECRET: &str = "join.secret";

/// The ticket with which an invited node comes.
pub const TICKET: &str = "join.ticket";

/// What the configuration of a new node says.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Where its files are.
    pub directory: &'a Path,
    /// Its name.
    pub node: &'a NodeId,
    /// Its wish for the lease.
    pub priority: Priority,
    /// The onion service.
    pub address: HsId,
    /// Where connections are carried to, and how.
    pub proxy: &'a ProxyPart,
    /// The virtual port of the onion service.
    pub port: u16,
    /// UDP port of WireGuard.
    pub listen_port: u16,
    /// UDP port of the sealed datagrams, inside the tunnel.
    pub datagram_port: u16,
    /// Where the others reach that port, if it is fixed.
    pub endpoint: Option<SocketAddr>,
    /// The cluster's network of tunnel addresses, where it does not follow from the token.
    pub prefix: Option<Prefix>,
    /// How many tokens the cluster had before the one in the node's file.
    pub token_seq: u32,
    /// The cluster's timing.
    pub timing: Timing,
    /// How long a token counts after a newer one was made.
    pub token_overlap: Duration,
    /// Whether it comes with a ticket.
    pub invited: bool,
}

/// The virtual port of an onion service, unless another one is said.
pub const DEFAULT_PORT: u16 = 80;
/// WireGuard's customary port.
pub const DEFAULT_LISTEN_PORT: u16 = 51820;
/// The next one.
pub const DEFAULT_DATAGRAM_PORT: u16 = 51821;
/// How long a token counts after a newer one was made, unless something else is said.
pub const DEFAULT_TOKEN_OVERLAP: Duration = Duration::from_hours(24);

impl Settings<'_> {
    /// The text of the configuration, which has been read back and found right.
    pub fn text(&self) -> Result<String, ConfigError> {
        let text = self.to_string();
        Config::parse(&text, &self.directory.join(CONFIG))?;
        Ok(text)
    }

    fn file(&self, name: &str) -> Quoted<String> {
        Quoted(self.directory.join(name).to_string_lossy().into_owned())
    }
}

impl Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "# The configuration of one node, as all its daemons read it; each opens only the secret files of its own\n\
             # sections. What is commented out shows the default; \"for example\" stands before what has none.\n\n",
        )?;
        self.node_and_service(f)?;
        self.tor_and_proxy(f)?;
        self.mesh(f)?;
        self.cluster(f)?;
        self.join(f)?;
        f.write_str(
            "\n[publisher]\n\
             # How often the descriptor is published, and tor asked for its introduction points, although nothing changed.\n\
             # refresh_interval_secs = 600\n\
             # poll_interval_secs = 30\n\n\
             [ipc]\n\
             # The control sockets of the daemons, and who may use them besides root and the daemons themselves.\n\
             # directory = \"/run/rustbalance\"\n\
             # allowed_users = []\n\n\
             [vault]\n\
             # Every *_file above may hold a sealed secret (rustbalance seal), and `token = \"sealed:v1:...\"` may stand here in\n\
             # its place. The passphrase of all of them comes from this systemd credential, else from a file, else, as a\n\
             # last resort, from an environment variable.\n\
             # passphrase_credential = \"rustbalance-passphrase\"\n\
             # for example: passphrase_file = \"/run/keys/rustbalance-passphrase\"\n\
             # for example: passphrase_variable = \"RUSTBALANCE_PASSPHRASE\"\n\n\
             # With these, each daemon makes sure at its start that it is the program that was signed (rustbalance manifest\n\
             # create), and ends with code 65 if it is not. For example:\n\
             # [integrity]\n\
             # manifest = \"/usr/share/rustbalance/manifest\"\n\
             # public_key = \"VemKjvmla9Zhz+VjLuBUhIcEJtI++8wGD11aYhnqLz0=\"\n\n\
             [log]\n\
             # error, warn, info, debug, trace, or pairs such as info,rustbalance::tor=debug.\n\
             # level = \"info\"\n",
        )
    }
}

/// The other keys of `[proxy]`, as they are by default or could be.
const PROXY_KEYS: &str = "\
# tcp carries bytes as they are, of any protocol. http understands requests, exchanges the target's name for this
# service's in their headers, and answers with a page when the target cannot be reached.
# mode = \"tcp\"
# What the target calls itself, in mode http and in its certificate, if it is not what stands in `target`.
# for example: host = \"www.example.org\"
# Which certificates are accepted from a target with https://. webpki: one for `host` that leads to a trusted root, of
# this system or of a file of its own. spki-pin: one with a key listed in `pins`, whoever signed it and however old it is.
# onion: any, because the onion address says already whose key it is.
# for example: verify = \"webpki\"
# for example: roots = \"/etc/rustbalance/roots.pem\"
# for example: pins = [\"sha256/5r/ApdUADkdeO/GQaY+pp+MDR1LHdd6dLpZTvs3orEw=\"]
# How long may take: reaching the target, silence in both directions, and connections in flight when the proxy stops.
# connect_timeout_secs = 30
# idle_timeout_secs = 120
# drain_timeout_secs = 20
# max_connections = 1024
# How often reaching the target is tried although no client asks for it.
# probe_interval_secs = 60
# In mode http, what each target is asked for then, and the status that a well one answers with: without it, any from 200
# to 399. A target that answers otherwise so often gets no connections until its answer is right again.
# for example: probe_path = \"/health\"
# for example: probe_status = 200
# The page that clients see in mode http when the target fails them: HTML in UTF-8, at most 64 KiB, with what it needs
# inside; {{status}} and {{reason}} are filled in.
# for example: error_page = \"/etc/rustbalance/error.html\"
# In mode http, whether pages (HTML, XHTML, SVG) and styles (CSS) are looked through for URLs of the target, which would
# lead clients past this service. Scripts stay as they are. Costs time, and up to a MiB for each response under way.
# rewrite_content = false
# After so many failures in a row, over a second at least, a target gets no connections; how often it is tried then, after
# quicker trials to begin with; how long its share grows when it is back.
# eject_failures = 3
# trial_interval_secs = 5
# readmission_secs = 30
# Several targets stand here instead of `target`, each with its share of the connections. For example:
# [[proxy.targets]]
# address = \"tcp://127.0.0.1:8080\"
# weight = 3
# [[proxy.targets]]
# address = \"tcp://127.0.0.1:8081\"
# host = \"www.example.org\"
# How much one client circuit may ask for: requests in a second (connections in mode tcp), at once after a pause, and
# connections at the same time; after how many refusals in a row it is closed (0: never). Only where the serving tor's
# torrc says `HiddenServiceExportCircuitID haproxy`, or everybody is refused. For example:
# [proxy.circuits]
# requests_per_second = 20
# burst = 200
# connections = 64
# close_after = 200

";

/// Which certificates are accepted from a target that speaks TLS, to begin with: what is safe without knowing more.
struct VerifyLine<'a>(&'a ProxyPart);

impl Display for VerifyLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.0.targets().next().filter(|_| !self.0.verifies());
        match target.unwrap_or_default().parse() {
            Ok(Target::Onion { tls: true, .. }) => f.write_str(
                "# Any certificate: the onion address says already whose key it is. Or webpki, or spki-pin.\n\
                 verify = \"onion\"\n",
            ),
            Ok(Target::Local { tls: true, .. }) => f.write_str(
                "# A certificate for `host` that a root of this system's vouches for. Or spki-pin, with `pins`.\n\
                 verify = \"webpki\"\n",
            ),
            _ => Ok(()),
        }
    }
}

impl Settings<'_> {
    fn node_and_service(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, priority, address, .. } = self;
        let key = self.file(MASTER_KEY);
        write!(
            f,
            "[node]\n\
             # Short, and different on every node.\n\
             id = \"{node}\"\n\
             # Who should hold the lease: the lowest number first, then by id.\n\
             priority = {priority}\n\n\
             [service]\n\
             # The onion address that all nodes serve, and its secret key, which the publisher alone reads.\n\
             address = \"{address}\"\n\
             master_key_file = {key}\n\n"
        )
    }

    fn tor_and_proxy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, verify) = (self.proxy.target_line(), VerifyLine(self.proxy));
        write!(
            f,
            "[tor]\n\
             # The tor whose torrc has the HiddenServiceDir; the other one uploads, and reaches the target.\n\
             serving = \"a\"\n\
             [tor.a]\n\
             control = \"unix:/run/rustbalance-tor/a/control/socket\"\n\
             socks = \"unix:/run/rustbalance-tor/a/socks/socket\"\n\
             [tor.b]\n\
             control = \"unix:/run/rustbalance-tor/b/control/socket\"\n\
             socks = \"unix:/run/rustbalance-tor/b/socks/socket\"\n\n\
             [proxy]\n\
             # Where tor's HiddenServicePort points; not used when the service manager hands the socket over.\n\
             listen = \"unix:/run/rustbalance/onion.sock\"\n\
             # Your service: http(s)://ip:port, tcp://ip:port, unix:/path, or another onion service, http(s)://ADDRESS.onion:port.\n\
             {target}\
             {verify}"
        )?;
        f.write_str(&self.proxy.lines(PROXY_KEYS))
    }

    fn mesh(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.file(WIREGUARD_KEY);
        write!(
            f,
            "[mesh]\n\
             # This node's own WireGuard key, different on every node.\n\
             private_key_file = {key}\n\
             # The only port that the firewall must let in (UDP).\n\
             listen_port = {}\n\
             # Where other nodes reach that port, if this machine has a fixed address.\n",
            self.listen_port
        )?;
        match self.endpoint {
            Some(endpoint) => writeln!(f, "endpoint = \"{endpoint}\"")?,
            None => f.write_str("# for example: endpoint = \"192.0.2.1:51820\"\n")?,
        }
        f.write_str(
            "# The network of the tunnel's addresses; without it, it follows from the cluster token.\n",
        )?;
        match &self.prefix {
            Some(prefix) => writeln!(f, "prefix = \"{prefix}\"")?,
            None => f.write_str("# for example: prefix = \"fd12:3456:789a::/48\"\n")?,
        }
        let datagram_port = Number("datagram_port", self.datagram_port.into(), DEFAULT_DATAGRAM_PORT.into());
        write!(
            f,
            "# UDP port of the cluster's datagrams inside the tunnel, the same on every node.\n\
             {datagram_port}\
             # kernel, userspace, or whichever is there.\n\
             # backend = \"auto\"\n\
             # interface = \"wg-rb\"\n\
             # Nodes that were invited are learnt and not listed. One configured by hand, for example:\n\
             # [[mesh.peers]]\n\
             # id = \"beta\"\n\
             # public_key = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"\n\
             # endpoint = \"192.0.2.2:51820\"\n\n",
        )
    }

    fn cluster(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (timing, default, token) = (self.timing, Timing::default(), self.file(TOKEN));
        write!(
            f,
            "[cluster]\n\
             # The secret that all nodes share.\n\
             token_file = {token}\n\
             # How many tokens the cluster had before that one, and how long one counts once there is a newer one:\n\
             # invitations made under it end then.\n\
             {}{}\
             # Where the coordinator keeps what it knows of the cluster over a restart.\n\
             # state_directory = \"/var/lib/rustbalance/coordinator\"\n\
             # Whether this node asks, through Tor and about once a minute, who answers at the service's address: to see what\n\
             # clients see. Other nodes' questions are answered either way, where [join] secret_file is.\n\
             # canary = true\n\
             # How often a node asks another whether it lives, after how long without an answer it counts as dead, and how\n\
             # long the next one then waits before it takes the lease. The same on every node.\n\
             {}{}{}",
            Number("token_seq", self.token_seq, 0),
            Seconds("token_overlap_secs", self.token_overlap, DEFAULT_TOKEN_OVERLAP),
            Seconds("heartbeat_interval_secs", timing.heartbeat_interval(), default.heartbeat_interval()),
            Seconds("heartbeat_timeout_secs", timing.heartbeat_timeout(), default.heartbeat_timeout()),
            Seconds("takeover_grace_secs", timing.takeover_grace(), default.takeover_grace()),
        )
    }

    fn join(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secret, ticket) = (self.file(JOIN_SECRET), self.file(TICKET));
        let mark = if self.invited { "" } else { "# for example: " };
        let port = Number("port", self.port.into(), DEFAULT_PORT.into());
        write!(
            f,
            "\n[join]\n\
             # The secret path at which joining is answered, the same on every node; without it nobody is let in here.\n\
             secret_file = {secret}\n\
             # The ticket of the invitation with which this node came; the first node has none.\n\
             {mark}ticket_file = {ticket}\n\
             # The virtual port of the onion service at which joining is asked for.\n\
             {port}\
             # How often an invited node tries, and how long it waits in between, before the tries become rare.\n\
             # attempts = 5\n\
             # retry_secs = 15\n"
        )
    }
}

/// A text between quotation marks, as TOML escapes it.
struct Quoted<T>(T);

impl<T: AsRef<str>> Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        toml::Value::from(self.0.as_ref()).fmt(f)
    }
}

/// A line with a key, its value, and the default: commented out where it is the default.
struct Number(&'static str, u32, u32);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key, value, default) = self;
        let mark = if value == default { "# " } else { "" };
        writeln!(f, "{mark}{key} = {value}")
    }
}

/// The same for a time.
struct Seconds(&'static str, Duration, Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key, value, default) = self;
        let mark = if value == default { "# " } else { "" };
        writeln!(f, "{mark}{key} = {}", value.as_secs_f64())
    }
}
