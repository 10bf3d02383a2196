//! The `runhook` binary: arguments and environment in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use runhook::cli::Cli;
use runhook::config::Environment;

#[tokio::main]
async fn main() -> ExitCode {
    let ended = Cli::parse().run(Environment::read()).await;
    ended.unwrap_or_else(|error| {
        // One line, causes included; a backtrace would help nobody who typed a wrong name.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
