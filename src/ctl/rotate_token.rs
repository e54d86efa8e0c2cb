//! `rustbalance rotate-token`.

use std::io::Write;

use clap::Args;

use crate::ctl::daemons::{Node, runtime};
use crate::ctl::error::CtlError;

/// Where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance rotate-token

The order is sealed under the present token. Every node takes it and changes within seconds; one that was away finds its \
way to the newest token through any other. The older token counts for token_overlap_secs more: invitations made under \
it end then.")]
pub struct Arguments {
    #[command(flatten)]
    node: Node,
}

impl Arguments {
    /// Has a new token made, and names it; the token itself is not shown anywhere.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        runtime()?.block_on(async {
            let mut coordinator = self.node.coordinator().await?;
            let rotated = match coordinator.client.rotate_token().await {
                Ok(rotated) => rotated,
                Err(error) => return Err(coordinator.explain(error)),
            };
            Ok(writeln!(
                out,
                "the cluster changes to token {}; which node has which: rustbalance status",
                rotated.token
            )?)
        })
    }
}
