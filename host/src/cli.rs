//! The command line: one file per command, no logic.

mod apply;
mod connection;
mod deliveries;
mod demo;
mod endpoints;
mod keys;
pub mod listen;
mod plugin;
mod plugin_policy;
mod rule;
mod serve;
mod size;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Environment;

/// Webhooks for LLM runs, self-hosted and programmable.
#[derive(Parser, Debug)]
#[command(name = "runhook", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Apply(apply::ApplyArgs),
    #[command(subcommand)]
    Rule(rule::RuleCommand),
    #[command(subcommand)]
    Deliveries(deliveries::DeliveriesCommand),
    #[command(subcommand)]
    Endpoints(endpoints::EndpointsCommand),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    Listen(listen::ListenArgs),
    Demo(demo::DemoArgs),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What went wrong, in words for the user.
    pub async fn run(self, environment: Environment) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(arguments) => serve::run(*arguments, environment).await?,
            Command::Apply(arguments) => apply::run(arguments, environment).await?,
            Command::Rule(command) => rule::run(command, environment).await?,
            Command::Deliveries(command) => deliveries::run(command, environment).await?,
            Command::Endpoints(command) => endpoints::run(command, environment).await?,
            Command::Keys(command) => keys::run(command, environment).await?,
            Command::Plugin(command) => return plugin::run(command, environment).await,
            Command::Listen(arguments) => listen::run(arguments).await?,
            Command::Demo(arguments) => demo::run(arguments, environment).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
