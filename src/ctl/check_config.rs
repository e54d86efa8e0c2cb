//! `rustbalance check-config`: whether all daemons of a node can make use of a configuration, on whichever machine it is.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::config::file::{Config, DEFAULT_PATH};
use crate::ctl::answer::Line;
use crate::ctl::error::CtlError;
use crate::mesh::interface_name::{InterfaceName, InterfaceNameError};

/// Who needs what; an error names the one that misses it.
const PROXY: &str = "rustbalance-proxy";
const PUBLISHER: &str = "rustbalance-publisher";
const COORDINATOR: &str = "rustbalance-coordinator";

/// Which configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance check-config
  rustbalance check-config /tmp/config.toml

Nothing but the file itself is opened: whether its secrets are there, and whether this machine knows its users, is said \
by each daemon's own --check-config, where the node is.")]
pub struct Arguments {
    /// The configuration
    #[arg(value_name = "FILE", default_value = DEFAULT_PATH)]
    file: PathBuf,
}

impl Arguments {
    /// Checks it, and says what the node would be.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let config = Config::load(&self.file)?;
        let proxy = config.proxy(PROXY)?;
        config.tor(PUBLISHER)?;
        let service = config.service(PUBLISHER)?;
        let node = config.node(COORDINATOR)?;
        config.cluster(COORDINATOR)?;
        let mesh = config.mesh(COORDINATOR)?;
        let name: Result<InterfaceName, InterfaceNameError> = mesh.interface.parse();
        name.map_err(|error| config.refuse(&["mesh", "interface"], error.to_string()))?;
        writeln!(out, "{}", Line("configuration", self.file.display()))?;
        writeln!(out, "{}", Line("node", &node.id))?;
        writeln!(out, "{}", Line("address", service.address))?;
        for target in proxy.targets() {
            writeln!(out, "{}", Line("target", &target.address))?;
        }
        Ok(())
    }
}
