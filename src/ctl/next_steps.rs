//! What is left to do by hand when a node's files are made.

use std::fmt::{self, Display, Write};
use std::path::Path;

use crate::config::endpoint::{Endpoint, Target};
use crate::ctl::node_files::{DEFAULT_DIRECTORY, DEFAULT_PORT, MASTER_KEY, Settings};

/// The steps, numbered, as `init` and `join` end.
pub struct NextSteps<'a>(pub &'a Settings<'a>);

impl Display for NextSteps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { directory, listen_port, invited, .. } = self.0;
        let mut steps = Vec::new();
        if !invited {
            let key = directory.join(MASTER_KEY);
            steps.push(format!(
                "Copy {} to a safe place: whoever has it has the address, and without it the address is lost.",
                key.display()
            ));
        }
        steps.push(format!("Let UDP port {listen_port} through the firewall."));
        steps.extend(changed_units(self.0));
        steps.push(
            "Give the files to their daemons, and start the node:\n\
             \x20  systemd-tmpfiles --create rustbalance.conf && systemctl enable --now rustbalance.target"
                .to_owned(),
        );
        if *invited {
            steps.push(
                "See how it asks to be let in, through the onion service: rustbalance status --watch"
                    .to_owned(),
            );
            steps
                .push(format!("Delete the invitation. The files in {} hold all of it.", directory.display()));
        } else {
            steps.push("Invite more nodes: rustbalance token create".to_owned());
        }
        f.write_str("\nNext:\n")?;
        for (number, step) in (1..).zip(steps) {
            writeln!(f, "{number}. {step}")?;
        }
        Ok(())
    }
}

/// What the shipped units and torrc say otherwise.
fn changed_units(settings: &Settings<'_>) -> Vec<String> {
    let mut changed = Vec::new();
    if settings.directory != Path::new(DEFAULT_DIRECTORY) {
        let directory = settings.directory.display();
        changed.push(format!(
            "Have the services start with --config {directory}/config.toml, and tmpfiles.d give away the files there: as \
             shipped, both know {DEFAULT_DIRECTORY} only."
        ));
    }
    let tcp = |target: &str| match target.parse() {
        Ok(Target::Local { endpoint: Endpoint::Tcp(address), .. }) => Some(address.ip()),
        _ => None,
    };
    let machines: Vec<_> = settings.proxy.targets().filter_map(tcp).collect();
    if !machines.is_empty() {
        let mut step =
            "Copy nixos/units/optional/rustbalance-proxy.service.d to /etc/systemd/system: without it the \
                        proxy may not connect to a target on TCP."
                .to_owned();
        for address in machines.iter().filter(|address| !address.is_loopback()) {
            let _ =
                write!(step, " Write IPAddressAllow={address} into it: the target is on another machine.");
        }
        changed.push(step);
    }
    if settings.port != DEFAULT_PORT {
        changed.push(format!(
            "Write `HiddenServicePort {} unix:/run/rustbalance/onion.sock` into /etc/rustbalance-tor/a.torrc, which has \
             port {DEFAULT_PORT}.",
            settings.port
        ));
    }
    changed
}
