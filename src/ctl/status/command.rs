//! The command line of `rustbalance status`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use crate::config::ipc::Ipc;
use crate::ctl::daemon_error::DaemonError;
use crate::ctl::daemons::{Node, runtime};
use crate::ctl::error::CtlError;
use crate::ctl::status::paint::Paint;
use crate::ctl::status::report::Report;
use crate::ctl::status::screen::Screen;
use crate::ctl::status::{show, why};
use crate::sys::stop::Stop;

/// How often the daemons are asked while watching: as often as somebody reads.
const EVERY: Duration = Duration::from_secs(1);

/// What is to be shown, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance status
  rustbalance status --watch
  rustbalance status --why
  rustbalance status --json | jq '.coordinator.cluster.holder'

The node that is asked is marked with *. HEARD is the age of a node's last datagram, TUNNEL that of the last WireGuard \
handshake with it (above 3 min there is no session), ON HSDIRS whether every HSDir that clients ask has accepted a \
descriptor with its introduction points, as the lease holder says. Colours are only used on a terminal, and not when \
NO_COLOR is set.")]
pub struct Arguments {
    /// Go on until interrupted: drawn anew each second on a terminal, one answer after the other elsewhere
    #[arg(long)]
    watch: bool,
    /// Answer in JSON, whose keys stay the same from version to version; with --watch one line each
    #[arg(long)]
    json: bool,
    /// Show instead what fails on this node and why, what the watchdog has done about it, and what remains to be done
    #[arg(long, conflicts_with = "watch")]
    why: bool,
    #[command(flatten)]
    node: Node,
}

impl Arguments {
    /// Asks the daemons, and shows what they say.
    pub fn run(&self, out: &mut Vec<u8>) -> Result<(), CtlError> {
        let sockets = self.node.sockets()?;
        runtime()?.block_on(async {
            if self.why {
                return why::write(&sockets, self.json, out).await;
            }
            if self.watch {
                return self.watch(&sockets).await;
            }
            let (report, error) = Report::gather(&sockets).await;
            if !report.is_empty() {
                self.write(&report, out)?;
            }
            error.map_or(Ok(()), |error| Err(error.into()))
        })
    }

    fn write(&self, report: &Report, out: &mut impl Write) -> Result<(), CtlError> {
        if self.json {
            serde_json::to_writer_pretty(&mut *out, report).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            out.write_all(show::lines(report, Paint::for_standard_output()).as_bytes())?;
        }
        Ok(())
    }

    async fn watch(&self, sockets: &Ipc) -> Result<(), CtlError> {
        let mut stop = Stop::new()?;
        let screen = if io::stdout().is_terminal() && !self.json { Some(Screen::begin()?) } else { None };
        loop {
            let gathered = tokio::select! {
                gathered = Report::gather(sockets) => gathered,
                () = stop.wanted() => return Ok(()),
            };
            match self.picture(&gathered, screen.as_ref()) {
                // The reader of a pipe has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                shown => shown?,
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.wanted() => return Ok(()),
            }
        }
    }

    fn picture(
        &self,
        (report, _): &(Report, Option<DaemonError>),
        screen: Option<&Screen>,
    ) -> io::Result<()> {
        if let Some(screen) = screen {
            let text = show::lines(report, Paint::for_standard_output());
            return screen.draw(&format!("rustbalance status, {}\n\n{text}", report.at));
        }
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, report).map_err(io::Error::from)?;
        } else {
            writeln!(out, "{}\n{}", report.at, show::lines(report, Paint(false)))?;
        }
        writeln!(out)?;
        out.flush()
    }
}
