//! Exit codes by sysexits(3), so that a service manager can tell a bad configuration from a crash.

use std::io::Write;
use std::process::ExitCode;

/// Why a process of ours ends. The numbers are those of sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what it was asked to do.
    Success,
    /// 64: the command line is wrong.
    Usage,
    /// 65: input data (a key, a descriptor) is wrong, or the program itself is not what was signed. Units list it in
    /// `RestartPreventExitStatus=`, since a restart cannot help.
    Data,
    /// 69: a service it needs (tor, a socket) is not there; trying again later may help.
    Unavailable,
    /// 70: a mistake in rustbalance itself.
    Software,
    /// 71: the operating system refused something basic (a socket, a limit).
    Os,
    /// 73: a file that was asked for cannot be created.
    CannotCreate,
    /// 75: a passing failure; try again.
    TemporaryFailure,
    /// 77: permission is missing (a capability, a file mode).
    Permission,
    /// 78: the configuration is wrong. Units list it in `RestartPreventExitStatus=`, since a restart cannot help.
    Config,
}

impl Exit {
    /// The number the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 64,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::Os => 71,
            Self::CannotCreate => 73,
            Self::TemporaryFailure => 75,
            Self::Permission => 77,
            Self::Config => 78,
        }
    }
}

/// Says on standard error why `daemon` cannot run, and gives the code to end with.
///
/// This is for the time before logs are set up; systemd carries standard error to the journal, where `<3>` marks an
/// error (`SyslogLevelPrefix=`, sd-daemon(3)).
pub fn refuse(daemon: &str, exit: Exit, error: &dyn std::error::Error) -> ExitCode {
    let mark = if std::env::var_os("JOURNAL_STREAM").is_some() { "<3>" } else { "" };
    // A closed standard error is no reason to fail differently.
    let _ = writeln!(std::io::stderr(), "{mark}{daemon}: {}", whole_reason(error));
    exit.into()
}

/// An error and its causes in one line.
pub fn whole_reason(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Many messages already hold their cause.
        let cause_text = cause.to_string();
        if !reason.contains(&cause_text) {
            reason.push_str(": ");
            reason.push_str(&cause_text);
        }
        source = cause.source();
    }
    reason
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_configuration_is_78_as_the_units_expect() {
        assert_eq!(Exit::Config.code(), 78);
        assert_eq!(Exit::Success.code(), 0);
    }
}
