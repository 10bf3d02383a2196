//! The composition root: the only file that names every concrete type. Starts a host, stops it.

use std::fs::{self, DirBuilder, File};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use url::Url;

use crate::access::Access;
use crate::api::{self, Api, Listener};
use crate::blobs::{BlobSettings, Blobs, LocalSettings, SigningKey};
use crate::clock::{Clock, SystemClock};
use crate::config::ServeConfig;
use crate::dispatch::Dispatch;
use crate::fanout::{self, Fanout, Replay, ReplayError};
use crate::intake::Intake;
use crate::matching::{self, Matching, Pace};
use crate::model::ids::HostId;
use crate::model::secret::Secret;
use crate::offload::Offload;
use crate::outbound::{AddressPolicy, HttpSender, SenderSettings};
use crate::pem;
use crate::plugin::{CacheSettings, InUse, PluginRuntime, RuntimeSettings, WasmRuntime};
use crate::reading::Reading;
use crate::release::{self, Release, ReleaseHeld, Released};
use crate::retention::Retention;
use crate::rotation::Rotation;
use crate::rulebook::RuleBook;
use crate::secrets::Keyring;
use crate::shutdown::{self, ShutdownTrigger};
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// A running host.
pub struct Host {
    /// Where it listens.
    pub address: SocketAddr,
    /// The doors and fan-out, which stop first: nothing new comes to be sent then.
    inflow: Stages,
    /// What sends.
    outflow: Stages,
}

/// Parts of the host that stop together.
struct Stages {
    trigger: ShutdownTrigger,
    tasks: Vec<JoinHandle<()>>,
}

impl Stages {
    async fn stop(self) -> anyhow::Result<()> {
        self.trigger.request();
        for task in self.tasks {
            task.await.context("a stage of the engine panicked")?;
        }
        Ok(())
    }
}

impl Host {
    /// Opens the data directory, takes over what the last host left, and starts to work and to listen.
    ///
    /// # Errors
    /// What is wrong with the data directory, the keys, the plugin directory or the address, in words.
    pub async fn start(config: ServeConfig) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let owner = HostId::generate();
        let data = &config.data;
        raise_file_limit();
        prepare(data)?;
        let keyring = Keyring::load(data, config.secret_key)?.with_earlier(&config.earlier_secret_keys)?;
        let keyring = Arc::new(keyring);
        let cache = CacheSettings { folder: data.join("cache/plugins"), key: keyring.cache_key().into() };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_with(data, keyring.clone(), config.bodies)?);
        // The host before this one may have rotated until the store was ours.
        keyring.check_file()?;
        let taken_over = store.end_leases().await?;
        if taken_over > 0 {
            info!(deliveries = taken_over, "taking over attempts that nobody saw the end of");
        }
        let rulebook = Arc::new(RuleBook::load(store.clone(), clock.clone()).await?);
        let policy = config.plugins.policy.clone();
        let (cache, in_use) = (Some(cache), in_use(&rulebook));
        let settings = RuntimeSettings { cache, in_use, clock: clock.clone(), ..config.plugins };
        let runtime = tokio::task::spawn_blocking(|| WasmRuntime::start(settings)).await?;
        let plugins: Arc<dyn PluginRuntime> = Arc::new(runtime?);
        if let Some(proxy) = &config.egress_proxy {
            info!(%proxy, "requests to users' URLs go through the egress proxy, which resolves their names");
        }
        let sender = Arc::new(HttpSender::start(SenderSettings {
            policy: AddressPolicy::allowing(config.allow_cidr),
            authorities: authorities(&config.ca_files)?,
            proxy: config.egress_proxy,
            clock: clock.clone(),
        })?);
        let access = Access::load(store.clone(), clock.clone(), api_key(data)?).await?;
        let listener = Listener::bind(config.listen, config.tls.as_ref()).await?;
        let address = listener.address();
        let public_url = public_url(config.public_url, address, config.tls.is_some())?;
        let blobs = Blobs::open(config.blobs.unwrap_or_else(|| {
            let (folder, public_url) = (data.join("blobs"), public_url.clone());
            let signing_key = SigningKey::new(keyring.url_key());
            BlobSettings::Local(LocalSettings { folder, public_url, signing_key })
        }))?;
        let rotation = Rotation::new(keyring, store.clone(), blobs.clone(), clock.clone());
        if rotation.is_unfinished() {
            warn!("there are earlier secret keys; finish the rotation with: runhook keys rotate");
        }
        let dispatch = Dispatch::new(store.clone(), rulebook.clone(), sender.clone(), clock.clone(), owner);
        let (fanout, hints) = Fanout::new(fanout::Parts {
            store: store.clone(),
            rulebook: rulebook.clone(),
            plugins: plugins.clone(),
            dispatch: dispatch.clone(),
            blobs: blobs.clone(),
            fetch: sender,
            clock: clock.clone(),
            owner,
        });
        let workspace = store.workspace().await?;
        let hinted = fanout.clone();
        let intake = Intake::new(store.clone(), rulebook.clone(), clock.clone(), hinted, blobs.clone(), config.intake);
        let offered = fanout.clone();
        let matching = Matching::new(matching::Parts {
            store: store.clone(),
            rulebook: rulebook.clone(),
            offer: Arc::new(move |payload| offered.offer(payload)),
            blobs: blobs.clone(),
            clock: clock.clone(),
            workspace,
            public_url: public_url.clone(),
            pace: Pace::default(),
        });
        let release = policy.releases_any().then(|| {
            ReleaseHeld::new(release::Parts {
                store: store.clone(),
                rulebook: rulebook.clone(),
                plugins: plugins.clone(),
                release: release_by(fanout.clone()),
                is_asked_for: Arc::new(move |plugin| policy.releases_held(plugin)),
                clock: clock.clone(),
            })
        });
        let retention = Retention::new(store.clone(), blobs.clone(), clock.clone(), config.periods);
        let offload = config.offload_after.map(|age| Offload::new(store.clone(), blobs.clone(), clock.clone(), age));
        let (inflow, no_more_in) = shutdown::channel();
        let (outflow, no_more_out) = shutdown::channel();
        let api = Api {
            reading: Reading::new(store.clone(), blobs.clone()),
            blobs,
            matching: matching.clone(),
            workspace,
            public_url,
            store,
            rulebook: rulebook.clone(),
            plugins: plugins.clone(),
            intake,
            fanout: fanout.clone(),
            dispatch: dispatch.clone(),
            clock,
            access,
            rotation,
        };
        let mut inflow = Stages {
            trigger: inflow,
            tasks: vec![
                tokio::spawn(api::serve(listener, api, no_more_in.clone())),
                tokio::spawn({
                    let no_more_in = no_more_in.clone();
                    async move { matching.run(no_more_in).await }
                }),
                tokio::spawn({
                    let no_more_in = no_more_in.clone();
                    async move { retention.run(no_more_in).await }
                }),
                tokio::spawn({
                    let no_more_in = no_more_in.clone();
                    async move { fanout.run(hints, no_more_in).await }
                }),
                tokio::spawn({
                    let no_more_in = no_more_in.clone();
                    async move {
                        tokio::select! {
                            () = warm_up(&rulebook, &*plugins) => {}
                            () = no_more_in.requested() => {}
                        }
                    }
                }),
            ],
        };
        if let Some(release) = release {
            let no_more_in = no_more_in.clone();
            inflow.tasks.push(tokio::spawn(async move { release.run(no_more_in).await }));
        }
        if let Some(offload) = offload {
            inflow.tasks.push(tokio::spawn(async move { offload.run(no_more_in).await }));
        }
        let sending = tokio::spawn(async move { dispatch.run(no_more_out).await });
        let outflow = Stages { trigger: outflow, tasks: vec![sending] };
        if !address.ip().is_loopback() && config.tls.is_none() {
            warn!(
                "listening beyond loopback in clear: secrets and payloads can be read on the way; use --tls-cert and --tls-key"
            );
        }
        info!(%address, "listening");
        Ok(Self { address, inflow, outflow })
    }

    /// Stops accepting, finishes what is under way within the grace period, and returns.
    ///
    /// # Errors
    /// When a stage panicked.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.inflow.stop().await?;
        self.outflow.stop().await
    }
}

/// The configurations that the rules use a plugin with, as they are whenever that is asked. The runtime may outlive the
/// host for a moment, and must not keep the store open.
fn in_use(rulebook: &Arc<RuleBook>) -> InUse {
    let rulebook = Arc::downgrade(rulebook);
    Arc::new(move |name| {
        let Some(rules) = rulebook.upgrade().map(|rulebook| rulebook.snapshot()) else { return Vec::new() };
        let webhooks = rules.rules().iter().flat_map(|rule| &rule.webhooks);
        let uses = webhooks.flat_map(|webhook| &webhook.plugins).filter(|plugin| plugin.name == *name);
        uses.map(|plugin| plugin.config.clone()).collect()
    })
}

/// What the release stage asks of fan-out.
fn release_by(fanout: Fanout) -> Release {
    Arc::new(move |id| {
        let fanout = fanout.clone();
        Box::pin(async move {
            match fanout.replay(id, Replay::OutOfQuarantine).await {
                Ok(Some(_)) | Err(ReplayError::NotFound(_) | ReplayError::NotHeld(_)) => Released::Gone,
                Ok(None) => Released::Waits,
                Err(error) => Released::Failed(error.to_string()),
            }
        })
    })
}

/// What the files hold together.
fn authorities(files: &[PathBuf]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    for file in files {
        let text = fs::read(file).with_context(|| format!("cannot read --ca-file {}", file.display()))?;
        all.extend(pem::authorities(&text).map_err(|error| anyhow::anyhow!("--ca-file {} {error}", file.display()))?);
    }
    Ok(all)
}

/// What links begin with: as configured, else where the host listens.
fn public_url(configured: Option<Url>, address: SocketAddr, has_tls: bool) -> anyhow::Result<Url> {
    let scheme = if has_tls { "https" } else { "http" };
    configured.map_or_else(|| Ok(Url::parse(&format!("{scheme}://{address}"))?), Ok)
}

/// Makes the data directory, for its owner alone, and its name durable.
fn prepare(data: &Path) -> anyhow::Result<()> {
    if data.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.and_then(|()| File::open(data.canonicalize()?.parent().unwrap_or(data))?.sync_all())
        .with_context(|| format!("cannot make the data directory {}", data.display()))
}

/// Connections, attempts and bodies hold file descriptors: the usual soft limit of 1024 is below what the host's own
/// bounds allow.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, "cannot raise the limit of open files");
    }
}

/// The log names the file, never the key.
fn api_key(data: &Path) -> anyhow::Result<Secret> {
    let path = data.join(api::KEY_FILE);
    let is_first_start = !path.exists();
    let key = api::load_or_make(data)?;
    if is_first_start {
        info!(file = %path.display(), "made an API key");
    }
    Ok(key)
}

/// Has the rules' plugins compiled and configured before their first payload comes, and says which could not serve it.
async fn warm_up(rulebook: &RuleBook, plugins: &dyn PluginRuntime) {
    let snapshot = rulebook.snapshot();
    let webhooks = snapshot.rules().iter().flat_map(|rule| rule.webhooks.iter());
    let chains: Vec<_> = webhooks.flat_map(|webhook| webhook.plugins.clone()).collect();
    for plugin in chains {
        if let Err(failure) = plugins.check(&plugin).await {
            warn!(%failure, "a rule names a plugin that cannot serve it");
        }
    }
}
