//! `runhook demo`: everything once, on this machine.

use std::io::IsTerminal;

use clap::Args;

use crate::config::Environment;
use crate::demo;
use crate::demo::Style;
use crate::telemetry::{self, LogFormat};

/// See it work: a host, two receivers and a payload, on loopback
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// End when everything is delivered, instead of staying up
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(arguments: DemoArgs, environment: Environment) -> anyhow::Result<()> {
    // What the host logs would break up the story; what is wrong with it would not.
    telemetry::start(LogFormat::Text, environment.log_filter.as_deref().unwrap_or("warn"))?;
    let program = std::env::args().next().unwrap_or_else(|| "runhook".to_owned());
    let style = Style::new(std::io::stdout().is_terminal());
    let mut demo = demo::Demo::start(style, program, environment.program).await?;
    demo.play().await?;
    if arguments.once { demo.stop().await } else { demo.stay().await }
}
