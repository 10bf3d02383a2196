//! `runhook listen`: the scripted receiver alone, for users who develop theirs or watch what a rule sends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use http::StatusCode;
use jiff::SignedDuration;
use tokio::sync::broadcast::error::RecvError;

use crate::model::secret::Secret;
use crate::receiver::{Receiver, Script, describe};

/// Receive webhooks on this machine and print them.
#[derive(Args, Debug)]
pub struct ListenArgs {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Answer 401 unless the URL has `?secret=` with this value
    #[arg(long, value_parser = parse_secret)]
    secret: Option<Secret>,
    /// Statuses to answer, one per request; the last one stays
    #[arg(long, value_delimiter = ',', default_value = "200", value_parser = parse_status)]
    status: Vec<StatusCode>,
    /// Hold every answer back for so long, as in `6s` or `500ms`
    #[arg(long, default_value = "0s", value_parser = parse_delay)]
    delay: Duration,
}

/// Receives and prints until Ctrl-C.
///
/// # Errors
/// That the port cannot be listened on.
pub async fn run(args: ListenArgs) -> anyhow::Result<()> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), args.port);
    let script = Script { secret: args.secret, statuses: args.status, delay: args.delay };
    let receiver = Receiver::start(address, script).await.with_context(|| format!("cannot listen on {address}"))?;
    let mut requests = receiver.subscribe();
    println!("Listening. Put this URL into a rule:\n\n  {}\n", receiver.url());
    println!("A browser is shown there what came. Webhooks are POSTs.");
    println!("The host reaches it if started with --allow-cidr 127.0.0.0/8. Ctrl-C ends.\n");
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Ok(received) => println!("{}\n", describe(&received)),
                Err(RecvError::Lagged(missed)) => println!("... {missed} requests came too fast to be shown\n"),
                Err(RecvError::Closed) => return Ok(()),
            },
            stopped = tokio::signal::ctrl_c() => return stopped.context("cannot wait for Ctrl-C"),
        }
    }
}

fn parse_secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() { Err("an empty secret protects nothing".to_owned()) } else { Ok(Secret::new(text)) }
}

/// A final status: 1xx is not an answer.
fn parse_status(text: &str) -> Result<StatusCode, String> {
    let status = text.trim().parse::<StatusCode>().ok().filter(|status| (200..600).contains(&status.as_u16()));
    status.ok_or_else(|| format!("`{text}` is no final status: use 200 to 599"))
}

fn parse_delay(text: &str) -> Result<Duration, String> {
    let delay = text.parse::<SignedDuration>().ok().and_then(|delay| Duration::try_from(delay).ok());
    delay.ok_or_else(|| format!("`{text}` is no length of time: write `6s` or `500ms`"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        listen: ListenArgs,
    }

    #[test]
    fn the_command_line_is_read() {
        let line = ["x", "--port", "0", "--secret", "s", "--status", "503,200", "--delay", "1.5s"];
        let args = Line::try_parse_from(line).unwrap().listen;
        assert_eq!((args.port, args.delay), (0, Duration::from_millis(1500)));
        assert_eq!(args.status, [StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK]);
        assert_eq!(args.secret, Some(Secret::new("s")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [["x", "--status", "100"], ["x", "--status", "abc"], ["x", "--delay", "-1s"], ["x", "--delay", "6"]]
        {
            assert!(Line::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
