//! The `runhook` binary: arguments and environment in, exit code out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use runhook::cli::Cli;
use runhook::config::Environment;
use runhook::plugin;
use tokio::runtime::Runtime;

/// A child of the plugin runtime is told apart before a thread is started: it gives up the right to start any.
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(plugin::CHILD) {
        return plugin::run_child(arguments.next().as_deref());
    }
    run()
}

fn run() -> ExitCode {
    let cli = Cli::parse();
    let ended = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(cli.run(Environment::read(program())));
        // Nobody waits for what a thread may still bring that a name server keeps.
        runtime.shutdown_background();
        ended
    });
    ended.unwrap_or_else(|error| {
        // One line, causes included; a backtrace would help nobody who typed a wrong name.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// This binary. On Linux by what the process runs, not by its path, where a newer one may lie by now.
fn program() -> Option<PathBuf> {
    if cfg!(target_os = "linux") { Some("/proc/self/exe".into()) } else { std::env::current_exe().ok() }
}
