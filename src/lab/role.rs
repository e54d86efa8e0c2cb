//! Which part of the lab this process plays: the first argument says it.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A part that the lab plays by starting itself again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Goes into the namespaces.
    Enter,
    /// Is process 1 there.
    Init,
    /// Runs the lab there.
    Inside,
    /// Keeps the namespaces of one node.
    Hold,
    /// Goes into the namespaces of one node and becomes another program.
    Join,
}

const ALL: [Role; 5] = [Role::Enter, Role::Init, Role::Inside, Role::Hold, Role::Join];

impl Role {
    /// The first argument. No option or file name of a user begins like this.
    fn word(self) -> &'static str {
        match self {
            Self::Enter => "@enter",
            Self::Init => "@init",
            Self::Inside => "@inside",
            Self::Hold => "@hold",
            Self::Join => "@join",
        }
    }

    /// The role and its own arguments; `None` when a user started the program.
    pub(super) fn of(mut arguments: impl Iterator<Item = OsString>) -> Option<(Self, Vec<OsString>)> {
        let first = arguments.nth(1)?;
        let role = ALL.into_iter().find(|role| OsStr::new(role.word()) == first)?;
        Some((role, arguments.collect()))
    }

    /// This program in that role. The kernel's own link is used, so that it works in any mount namespace and
    /// even when the file was replaced by a newer build meanwhile.
    pub(super) fn command(self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("rustbalance-lab").arg(self.word());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_finds_itself_again_and_a_user_plays_none() {
        for role in ALL {
            let arguments = ["x".into(), role.word().into(), "7".into()];
            assert_eq!(Role::of(arguments.into_iter()), Some((role, vec!["7".into()])));
        }
        assert_eq!(Role::of(["x", "--keep"].map(OsString::from).into_iter()), None);
        assert_eq!(Role::of(["x".into()].into_iter()), None);
    }
}
