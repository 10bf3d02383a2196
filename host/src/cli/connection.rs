//! How a command finds its host: `--server`, and the key from the environment or the data directory.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::api::KEY_FILE;
use crate::client::Client;
use crate::config::{DEFAULT_DATA, DEFAULT_LISTEN, Environment};
use crate::model::secret::Secret;

/// Which host.
#[derive(Args, Debug)]
pub(super) struct Connection {
    /// URL of the host [default: RUNHOOK_SERVER, else http://127.0.0.1:8484]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Data directory whose file api-key holds the key, unless RUNHOOK_API_KEY does
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
}

impl Connection {
    pub(super) fn client(&self, environment: Environment) -> anyhow::Result<Client> {
        let server = self.server.clone().or(environment.server).unwrap_or_else(|| format!("http://{DEFAULT_LISTEN}"));
        let key = match environment.api_key {
            Some(key) => key,
            None => {
                let path = self.data.join(KEY_FILE);
                let text = std::fs::read_to_string(&path).with_context(|| {
                    format!("cannot read the API key {}; set RUNHOOK_API_KEY or --data", path.display())
                })?;
                Secret::new(text.trim())
            }
        };
        Ok(Client::new(&server, key)?)
    }
}
