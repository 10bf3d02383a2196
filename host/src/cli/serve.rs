//! `runhook serve`: the host, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use url::Url;

use crate::api::TlsFiles;
use crate::app::Host;
use crate::blobs::{BlobSettings, S3Credentials, S3Settings};
use crate::cli::plugin_policy::PluginPolicyArgs;
use crate::cli::size::{KIB, MIB, parse_kib, parse_mib};
use crate::config::{DEFAULT_DATA, DEFAULT_LISTEN, Environment, ServeConfig};
use crate::intake::IntakeBounds;
use crate::limits;
use crate::model::secret::Secret;
use crate::outbound::EgressProxy;
use crate::plugin::RuntimeSettings;
use crate::retention::Periods;
use crate::store::sqlite::Bodies;
use crate::telemetry::{self, LogFormat};

/// Run the host: the relay door, the plugins and the delivery
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Directory for everything that is kept; made where there is none
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// Directory whose .wasm files are plugins, watched for changes
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    #[command(flatten)]
    plugin_policy: PluginPolicyArgs,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// URL under which people and receivers reach this host; links in payloads begin with it
    #[arg(long, value_name = "URL", value_parser = parse_public_url)]
    public_url: Option<Url>,
    #[command(flatten)]
    bucket: BucketArgs,
    /// PEM file with the certificate chain for TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the private key for TLS
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Network that webhooks may reach although it is not the public internet; can be repeated
    #[arg(long, value_name = "CIDR")]
    allow_cidr: Vec<IpNet>,
    /// PEM file with certificate authorities to trust besides the machine's when sending; can be repeated
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// HTTP proxy for all requests to users' URLs; with user name and password give it in RUNHOOK_EGRESS_PROXY
    #[arg(long, value_name = "URL")]
    egress_proxy: Option<String>,
    /// Largest payload after decoding, in MiB
    #[arg(long, value_name = "MIB", default_value_t = limits::PAYLOAD_BYTES_MAX / MIB, value_parser = parse_mib)]
    max_payload: usize,
    /// Largest inputs or outputs of a run that are kept with it, in KiB; larger ones travel as links
    #[arg(long, value_name = "KIB", default_value_t = limits::INLINE_BYTES_MAX / KIB, value_parser = parse_kib)]
    max_inline: usize,
    /// How long runs are kept; rules miss what they look for later than that
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = parse_period)]
    keep_runs: Duration,
    /// How long payloads, deliveries and their attempts are kept
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_period)]
    keep_history: Duration,
    /// Move inputs and outputs of runs that were modified last longer ago than this to the object store; never without
    #[arg(long, value_name = "TIME", value_parser = parse_period)]
    offload_after: Option<Duration>,
    /// Encrypt payloads and the bodies of deliveries at rest, under the secret key, from now on
    #[arg(long)]
    encrypt_bodies: bool,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormatArg,
}

/// The bucket for large inputs, outputs and attachments; without one they are kept below the data directory.
#[derive(Args, Debug)]
struct BucketArgs {
    /// S3 bucket for large inputs, outputs and attachments; without one they stay below the data directory
    #[arg(long, value_name = "BUCKET")]
    s3_bucket: Option<String>,
    /// URL of an S3-compatible server; AWS without one
    #[arg(long, value_name = "URL", requires = "s3_bucket")]
    s3_endpoint: Option<Url>,
    /// Region of the bucket
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    s3_region: String,
    /// What keys in the bucket begin with
    #[arg(long, value_name = "PREFIX", default_value = "runhook")]
    s3_prefix: String,
    /// The server takes the bucket in the path, not in the host's name
    #[arg(long, requires = "s3_endpoint")]
    s3_path_style: bool,
}

/// The endpoint may be http:// where it says so itself.
fn bucket(arguments: BucketArgs, credentials: Option<S3Credentials>) -> Option<BlobSettings> {
    let bucket = arguments.s3_bucket?;
    let allow_http = arguments.s3_endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
    Some(BlobSettings::S3(S3Settings {
        bucket,
        endpoint: arguments.s3_endpoint,
        region: arguments.s3_region,
        prefix: arguments.s3_prefix,
        credentials,
        allow_http,
        is_path_style: arguments.s3_path_style,
    }))
}

const PERIOD_HOURS_MAX: u64 = 100 * 366 * 24;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

/// Whole days (`14d`) or hours (`36h`), up to a hundred years.
pub(super) fn parse_period(text: &str) -> Result<Duration, String> {
    let hours = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "d")) => number.parse().ok().and_then(|days: u64| days.checked_mul(24)),
        Some((number, "h")) => number.parse().ok(),
        _ => None,
    };
    let hours = hours.filter(|hours| (1..=PERIOD_HOURS_MAX).contains(hours));
    hours.map(Duration::from_hours).ok_or_else(|| format!("`{text}` is no period: use days (`14d`) or hours (`36h`)"))
}

/// What is forgotten by then would never be offloaded.
fn check_offload(offload_after: Option<Duration>, keep_runs: Duration) -> anyhow::Result<()> {
    let Some(age) = offload_after.filter(|age| *age >= keep_runs) else { return Ok(()) };
    let (age, kept) = (shown(age), shown(keep_runs));
    anyhow::bail!("--offload-after {age} has to be shorter than --keep-runs {kept}: by then the runs are gone")
}

/// A period as it is written.
fn shown(period: Duration) -> String {
    let hours = period.as_secs() / 3600;
    if hours.is_multiple_of(24) { format!("{}d", hours / 24) } else { format!("{hours}h") }
}

/// From the command line or the environment. What is on the command line is in the process list.
fn egress_proxy(argument: Option<String>, variable: Option<Secret>) -> anyhow::Result<Option<EgressProxy>> {
    let (argument, variable) = match (argument, variable) {
        (Some(_), Some(_)) => anyhow::bail!("--egress-proxy and RUNHOOK_EGRESS_PROXY are both set; give one of them"),
        given => given,
    };
    let is_argument = argument.is_some();
    let Some(text) = argument.map(Secret::new).or(variable) else { return Ok(None) };
    let proxy = EgressProxy::parse(text.expose())?;
    if is_argument && proxy.has_credentials() {
        anyhow::bail!(
            "--egress-proxy has a user name or password, which all users of this machine can see; give the URL in \
                       the environment variable RUNHOOK_EGRESS_PROXY instead"
        );
    }
    Ok(Some(proxy))
}

fn parse_public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    let is_plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    if is_plain { Ok(url) } else { Err(format!("`{text}` has to begin with http:// or https://, without a query")) }
}

pub(super) async fn run(arguments: ServeArgs, environment: Environment) -> anyhow::Result<()> {
    let format = match arguments.log_format {
        LogFormatArg::Text => LogFormat::Text,
        LogFormatArg::Json => LogFormat::Json,
    };
    check_offload(arguments.offload_after, arguments.keep_runs)?;
    let egress_proxy = egress_proxy(arguments.egress_proxy, environment.egress_proxy)?;
    telemetry::start(format, environment.log_filter.as_deref().unwrap_or(telemetry::DEFAULT_FILTER))?;
    let tls = arguments.tls_cert.zip(arguments.tls_key).map(|(cert, key)| TlsFiles { cert, key });
    let config = ServeConfig {
        data: arguments.data,
        plugins: RuntimeSettings {
            directory: arguments.plugins,
            policy: arguments.plugin_policy.policy()?,
            program: environment.program,
            ..RuntimeSettings::default()
        },
        listen: arguments.listen,
        public_url: arguments.public_url,
        blobs: bucket(arguments.bucket, environment.s3_credentials),
        tls,
        allow_cidr: arguments.allow_cidr,
        ca_files: arguments.ca_file,
        egress_proxy,
        intake: IntakeBounds {
            payload_bytes_max: arguments.max_payload * MIB,
            inline_bytes_max: arguments.max_inline * KIB,
        },
        periods: Periods { runs: arguments.keep_runs, history: arguments.keep_history },
        offload_after: arguments.offload_after,
        bodies: if arguments.encrypt_bodies { Bodies::Sealed } else { Bodies::Plain },
        secret_key: environment.secret_key,
        earlier_secret_keys: environment.earlier_secret_keys,
    };
    let mut signals = Signals::listen()?;
    let host = tokio::select! {
        host = Host::start(config) => host?,
        () = signals.next() => {
            warn!("told to stop before the start was over");
            std::process::exit(STOPPED_AT_ONCE);
        }
    };
    signals.next().await;
    info!("stopping; a second signal stops at once");
    tokio::select! {
        stopped = host.stop() => stopped,
        () = signals.next() => {
            warn!("stopped at once; the next start takes over what was under way");
            // What is under way is as after a crash, which the store is made for.
            std::process::exit(STOPPED_AT_ONCE);
        }
    }
}

/// What the process ends with when it is told to stop twice.
const STOPPED_AT_ONCE: i32 = 130;

/// Who wants the host to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_whole_days_or_hours_and_never_nothing() {
        assert_eq!(parse_period("14d"), Ok(limits::RUNS_KEPT));
        assert_eq!(parse_period("30d"), Ok(limits::HISTORY_KEPT));
        assert_eq!(parse_period("36h"), Ok(Duration::from_hours(36)));
        for text in ["", "d", "0d", "0h", "14", "-1d", "1.5d", "1w", "14 d", "99999999999999999999d", "ä"] {
            assert!(parse_period(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn a_proxys_password_comes_by_the_environment_alone() {
        let argument = |text: &str| Some(text.to_owned());
        assert_eq!(egress_proxy(None, None).unwrap(), None);
        assert!(egress_proxy(argument("http://proxy:3128"), None).unwrap().is_some());
        let variable = || Some(Secret::new("http://user:hunter2@proxy:3128"));
        assert!(egress_proxy(None, variable()).unwrap().unwrap().has_credentials());
        for (argument, variable, says) in [
            (argument("http://user:hunter2@proxy:3128"), None, "RUNHOOK_EGRESS_PROXY instead"),
            (argument("http://proxy:3128"), variable(), "give one of them"),
            (argument("proxy"), None, "no URL"),
        ] {
            let error = egress_proxy(argument, variable).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_offloaded_is_still_kept_and_the_error_names_both() {
        let hours = Duration::from_hours;
        assert!(check_offload(None, hours(1)).is_ok());
        assert!(check_offload(Some(hours(23)), hours(24)).is_ok());
        for (age, says) in [(24, "--offload-after 1d"), (36, "--offload-after 36h")] {
            let error = check_offload(Some(hours(age)), hours(24)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("--keep-runs 1d"), "{error}");
        }
    }
}
