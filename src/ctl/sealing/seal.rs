//! `rustbalance seal`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::ctl::error::CtlError;
use crate::ctl::files::replace;
use crate::ctl::input::{Named, STANDARD_INPUT, read_secret};
use crate::ctl::passphrase::PassphraseSource;
use crate::ctl::sealing::written;
use crate::vault::cost::Cost;
use crate::vault::form::{self, Form};
use crate::vault::passphrase::Passphrase;
use crate::vault::sealed::{Content, MAX_SECRET_BYTES, OpenError, Sealed};

/// What to seal.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance seal /etc/rustbalance/hs_ed25519_secret_key /etc/rustbalance/cluster.token
  rustbalance seal --passphrase-credential vault - < key > key.sealed
  printf %s \"$TOKEN\" | rustbalance seal --value - --passphrase-file /root/passphrase
  rustbalance seal --check /etc/rustbalance/cluster.token

Files are sealed in place: what was there is replaced at once, but its bytes may stay in free blocks of the disk. \
The daemons take the passphrase from the systemd credential rustbalance-passphrase, or from where [vault] in their \
configuration says.")]
pub struct Arguments {
    /// The files, sealed in place; - reads standard input and writes standard output
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Seal one line of text as a value: one line again, beginning with `sealed:v1:`
    #[arg(long, conflicts_with = "check")]
    value: bool,
    /// Only say whether each file is sealed; exit code 65 where one is not. Needs no passphrase
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl Arguments {
    /// Seals, or checks, all of the files, or changes none.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        if self.check {
            return self.check(out);
        }
        let mut secrets = Vec::new();
        for path in &self.files {
            let secret = read_secret(path, MAX_SECRET_BYTES)?;
            match str::from_utf8(&secret).map(form::parse) {
                Err(_) | Ok(Err(OpenError::NotSealed)) => secrets.push((path, secret)),
                Ok(_) => return Err(CtlError::SealedAlready { path: path.clone() }),
            }
        }
        let passphrase = self.passphrase.new_passphrase("New passphrase: ")?;
        let mut written = Vec::new();
        for (path, secret) in &secrets {
            written.push((*path, self.seal(path, secret, &passphrase)?));
        }
        for (path, text) in written {
            if path == Path::new(STANDARD_INPUT) {
                out.write_all(text.as_bytes())?;
            } else {
                replace(path, text.as_bytes())?;
            }
        }
        Ok(())
    }

    fn seal(&self, path: &Path, secret: &[u8], passphrase: &Passphrase) -> Result<String, CtlError> {
        let (content, form, secret) = if self.value {
            (Content::Field, Form::Field, line(path, secret)?)
        } else {
            (Content::File, Form::Armour, secret)
        };
        let sealed = Sealed::seal(content, secret, passphrase, Cost::DEFAULT, &mut rand::rng());
        match sealed {
            Ok(sealed) => Ok(form::write(&sealed, form)),
            Err(source) => Err(CtlError::Seal { path: path.to_owned(), source }),
        }
    }

    fn check(&self, mut out: impl Write) -> Result<(), CtlError> {
        let mut wrong = Vec::new();
        for path in &self.files {
            match written::read(path) {
                Ok((sealed, _)) => {
                    let Cost { memory_kib, passes, lanes } = sealed.cost();
                    let memory_mib = memory_kib / 1024;
                    let what = sealed.content();
                    writeln!(
                        out,
                        "{}: {what}, Argon2id with {memory_mib} MiB, {passes} passes, {lanes} lanes",
                        Named(path)
                    )?;
                }
                Err(error @ CtlError::Open { .. }) => {
                    writeln!(out, "{}", crate::sys::exit::whole_reason(&error))?;
                    wrong.push(path.clone());
                }
                Err(error) => return Err(error),
            }
        }
        match (wrong.len(), wrong.into_iter().next()) {
            (_, None) => Ok(()),
            (number, Some(first)) => Err(CtlError::NotSealed { number, first }),
        }
    }
}

/// The one line that a value may have, without its end.
fn line<'a>(path: &Path, secret: &'a [u8]) -> Result<&'a [u8], CtlError> {
    let line = secret.strip_suffix(b"\n").unwrap_or(secret);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.contains(&b'\n') || str::from_utf8(line).is_err() {
        return Err(CtlError::NotALine { path: path.to_owned() });
    }
    Ok(line)
}
