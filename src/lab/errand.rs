//! A program that does one thing and ends.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::error::{LabError, io as doing};

/// Runs it to its end; what it wrote. `name` is for errors.
pub(super) async fn run(
    name: &str,
    command: std::process::Command,
    input: &[u8],
) -> Result<String, LabError> {
    let mut command = Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(doing(format!("starting {name}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why.
        let _ = stdin.write_all(input).await;
    }
    let output = child.wait_with_output().await.map_err(doing(format!("waiting for {name}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(LabError::Program { program: name.to_owned(), status: output.status, output: said })
}
