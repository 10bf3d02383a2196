//! What the host and the commands are told from outside: arguments become values, and the environment is read here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::api::TlsFiles;
use crate::blobs::{BlobSettings, S3Credentials};
use crate::intake::IntakeBounds;
use crate::model::secret::Secret;
use crate::outbound::EgressProxy;
use crate::plugin::RuntimeSettings;
use crate::retention::Periods;
use crate::store::sqlite::Bodies;

/// Where a host listens, and where a command looks for one.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8484";

/// Where data is kept unless told otherwise.
pub const DEFAULT_DATA: &str = "./data";

/// How a host runs.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The data directory; made where there is none.
    pub data: PathBuf,
    /// The plugin directory, where there is one, and what plugins may use.
    pub plugins: RuntimeSettings,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What links to this host begin with; else where it listens.
    pub public_url: Option<Url>,
    /// Where blobs are; else in a folder of the data directory.
    pub blobs: Option<BlobSettings>,
    /// TLS on the listener.
    pub tls: Option<TlsFiles>,
    /// Networks that the address policy opens.
    pub allow_cidr: Vec<IpNet>,
    /// PEM files with certificate authorities that are trusted besides the machine's.
    pub ca_files: Vec<PathBuf>,
    /// What all requests to users' URLs go through; none where they go straight.
    pub egress_proxy: Option<EgressProxy>,
    /// What the doors take.
    pub intake: IntakeBounds,
    /// How long things are kept.
    pub periods: Periods,
    /// How long ago a run was modified last when its inputs and outputs go to the object store; never where none.
    pub offload_after: Option<Duration>,
    /// How payloads and the bodies of deliveries are kept.
    pub bodies: Bodies,
    /// The sealing key from the environment; else it is a file of the data directory.
    pub secret_key: Option<Secret>,
    /// Keys that only open what was sealed before.
    pub earlier_secret_keys: Vec<Secret>,
}

/// The environment's part. Secrets come this way: arguments show in the process list.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `RUNHOOK_API_KEY`
    pub api_key: Option<Secret>,
    /// `RUNHOOK_SECRET_KEY`
    pub secret_key: Option<Secret>,
    /// `RUNHOOK_EARLIER_SECRET_KEYS`, with commas between
    pub earlier_secret_keys: Vec<Secret>,
    /// `RUNHOOK_SIGNING_PASSWORD`
    pub signing_password: Option<Secret>,
    /// `RUNHOOK_EGRESS_PROXY`
    pub egress_proxy: Option<Secret>,
    /// `RUNHOOK_SERVER`
    pub server: Option<String>,
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`
    pub s3_credentials: Option<S3Credentials>,
    /// `RUST_LOG`
    pub log_filter: Option<String>,
    /// The binary that runs.
    pub program: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's environment: space around a value, like the line's end of a file, is not part of it. An empty
    /// variable is none. `program` is the binary that runs.
    pub fn read(program: Option<PathBuf>) -> Self {
        let variable = |name: &str| std::env::var(name).ok().and_then(|value| trimmed(&value));
        let s3_credentials = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        Self {
            s3_credentials: s3_credentials
                .map(|(access_key_id, secret)| S3Credentials { access_key_id, secret_access_key: Secret::new(secret) }),
            api_key: variable("RUNHOOK_API_KEY").map(Secret::new),
            secret_key: variable("RUNHOOK_SECRET_KEY").map(Secret::new),
            earlier_secret_keys: variable("RUNHOOK_EARLIER_SECRET_KEYS").map_or_else(Vec::new, |keys| listed(&keys)),
            signing_password: variable("RUNHOOK_SIGNING_PASSWORD").map(Secret::new),
            egress_proxy: variable("RUNHOOK_EGRESS_PROXY").map(Secret::new),
            server: variable("RUNHOOK_SERVER"),
            log_filter: variable("RUST_LOG"),
            program,
        }
    }
}

fn trimmed(value: &str) -> Option<String> {
    Some(value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
}

fn listed(values: &str) -> Vec<Secret> {
    values.split(',').filter_map(trimmed).map(Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_commas_between_and_none_too_many_does_harm() {
        let values: Vec<_> = listed(" a, b,,c,\n").iter().map(|value| value.expose().to_owned()).collect();
        assert_eq!(values, ["a", "b", "c"]);
    }

    #[test]
    fn a_value_comes_without_the_space_around_it() {
        assert_eq!(trimmed(" rh_key\r\n"), Some("rh_key".to_owned()));
        assert_eq!(trimmed(" \n"), None);
    }
}
