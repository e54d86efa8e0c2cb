//! `rustbalance merge-config`: a configuration with some of its values replaced, for what keeps these elsewhere: the
//! NixOS module lays an operator's settings over what `init` or `join` wrote.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use toml::{Table, Value};

use crate::ctl::error::CtlError;
use crate::ctl::input::read_toml;

/// Which two.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance merge-config /etc/rustbalance/config.toml settings.toml > new.toml && rustbalance check-config new.toml

A section's keys are taken one by one, anything else is replaced whole, also a list. proxy.target and proxy.targets take \
each other's place, and with them goes what was said about certificates. Comments are not kept.")]
pub struct Arguments {
    /// The configuration
    #[arg(value_name = "FILE")]
    base: PathBuf,
    /// What counts instead, in the same form
    #[arg(value_name = "SETTINGS")]
    over: PathBuf,
}

impl Arguments {
    /// Writes the result.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let mut merged = read_toml(&self.base)?;
        let over = read_toml(&self.over)?;
        make_way(&mut merged, &over);
        lay_over(&mut merged, over);
        Ok(out.write_all(merged.to_string().as_bytes())?)
    }
}

/// Takes away what cannot stand beside what comes.
fn make_way(base: &mut Table, over: &Table) {
    let proxy = |table: &Table, key| table.get("proxy").is_some_and(|proxy| proxy.get(key).is_some());
    let Some(Value::Table(below)) = base.get_mut("proxy") else { return };
    for (comes, goes) in [("target", "targets"), ("targets", "target")] {
        if proxy(over, comes) {
            // The certificates are those of the target that goes.
            for key in [goes, "verify", "roots", "pins"] {
                below.remove(key);
            }
        }
    }
}

fn lay_over(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => _ = base.insert(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_targets_take_the_place_of_one_and_the_other_way_round() {
        let one: Table = "[proxy]\ntarget = \"a\"\nmode = \"http\"\n".parse().unwrap();
        let tls: Table = "[proxy]\ntarget = \"a\"\nverify = \"onion\"\n".parse().unwrap();
        let several: Table = "[proxy]\ntargets = [{ address = \"b\" }]\n".parse().unwrap();
        for (below, above, left) in [
            (&one, &several, "[proxy]\nmode = \"http\"\ntargets = [{ address = \"b\" }]\n"),
            (&tls, &several, "[proxy]\ntargets = [{ address = \"b\" }]\n"),
            (&several, &one, "[proxy]\ntarget = \"a\"\nmode = \"http\"\n"),
        ] {
            let mut merged = below.clone();
            make_way(&mut merged, above);
            lay_over(&mut merged, above.clone());
            assert_eq!(merged, left.parse().unwrap());
        }
    }

    #[test]
    fn sections_are_merged_and_all_else_is_replaced() {
        let mut base: Table =
            "[a]\nx = 1\ny = [1, 2]\n[a.b]\nz = 1\n[[p]]\nid = 1\n[[p]]\nid = 2\n".parse().unwrap();
        let over = "[a]\ny = [3]\nb.w = 2\n[[p]]\nid = 3\n[c]\nnew = true\n".parse().unwrap();
        let expected: Table =
            "[a]\nx = 1\ny = [3]\nb = { z = 1, w = 2 }\n[[p]]\nid = 3\n[c]\nnew = true\n".parse().unwrap();
        lay_over(&mut base, over);
        assert_eq!(base, expected);
        let mut kinds: Table = "a = 1\nb = { x = 1 }\n".parse().unwrap();
        lay_over(&mut kinds, "a = { x = 1 }\nb = 2\n".parse().unwrap());
        assert_eq!(kinds, "a = { x = 1 }\nb = 2\n".parse().unwrap());
    }
}
