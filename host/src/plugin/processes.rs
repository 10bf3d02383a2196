//! Guests in processes of their own: one for each plugin with a configuration and thread that calls it, kept for the next
//! payload. A crash there, or an escape, reaches the payloads of that plugin with that configuration and nothing else.

mod bounds;
pub(super) mod exchange;
mod pipe;
mod process;
pub(super) mod server;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};

use crate::document::Document;
use crate::limits::GUEST_PROCESSES_MAX;
use crate::model::plugin::PluginFailure;
use crate::plugin::limits::PluginLimits;
use crate::plugin::processes::bounds::Bounds;
use crate::plugin::processes::exchange::{Answer, Asked, Load, Request};
use crate::plugin::processes::process::{Broken, GuestProcess};
use crate::plugin::sandbox::call::{Called, Made, Usage};
use crate::plugin::sandbox::linked::Links;
use crate::plugin::snapshots::machine_code::SharedCode;

/// What a process serves.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    code: u64,
    /// Where the code is no snapshot.
    config: Option<String>,
    /// A process runs where its caller runs: to wake one on another core takes ten times as long.
    caller: ThreadId,
}

struct Idle {
    service: Service,
    process: GuestProcess,
    /// Gone when nothing calls the plugin any more.
    code: Weak<SharedCode>,
    used: u64,
}

/// The processes that wait for a payload.
pub(super) struct GuestProcesses {
    /// This host's own binary; none where all guests run in this process.
    program: Option<PathBuf>,
    idle: Mutex<Vec<Idle>>,
    uses: AtomicU64,
    started: AtomicU64,
}

impl GuestProcesses {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        Self { program, idle: Mutex::default(), uses: AtomicU64::new(0), started: AtomicU64::new(0) }
    }

    /// Whether guests can be run apart.
    pub(super) fn can_be_had(&self) -> bool {
        self.program.is_some() && cfg!(target_os = "linux")
    }

    /// Processes that were started.
    pub(super) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// As [`crate::plugin::sandbox::call::process`], in a process of its own.
    pub(super) fn process(
        &self,
        plugin: Called<'_>,
        code: &Arc<SharedCode>,
        document: Document,
        links: &Arc<Links>,
        limits: &PluginLimits,
    ) -> (Result<Made, PluginFailure>, Usage) {
        let asked = Asked::new(&document, links);
        let answer = self.ask(plugin, code, limits, &Request::Process(asked.head()), asked.body(), asked.len_bytes());
        match answer {
            Ok(answer) => answer.made(plugin, document, links, limits),
            Err(broken) => (Err(broken.failure(plugin.name, "load")), Usage::default()),
        }
    }

    /// The same in a process for this one payload.
    pub(super) fn process_once(
        &self,
        plugin: Called<'_>,
        code: &SharedCode,
        document: Document,
        links: &Arc<Links>,
        limits: &PluginLimits,
    ) -> (Result<Made, PluginFailure>, Usage) {
        let asked = Asked::new(&document, links);
        let bounds = Bounds::of(limits, asked.len_bytes());
        let answer = self.ask_once(plugin, code, limits, &Request::Process(asked.head()), &asked.body(), &bounds);
        match answer {
            Ok(answer) => answer.made(plugin, document, links, limits),
            Err(broken) => (Err(broken.failure(plugin.name, "load")), Usage::default()),
        }
    }

    /// Whether the plugin takes its configuration.
    pub(super) fn configure(
        &self,
        plugin: Called<'_>,
        code: &Arc<SharedCode>,
        limits: &PluginLimits,
    ) -> Result<(), PluginFailure> {
        let answer = self.ask(plugin, code, limits, &Request::Configure, Vec::new(), 0);
        answer.map_err(|broken| broken.failure(plugin.name, "configure"))?.done(plugin)
    }

    /// What the plugin says of itself: JSON.
    pub(super) fn describe(
        &self,
        plugin: Called<'_>,
        code: &Arc<SharedCode>,
        limits: &PluginLimits,
    ) -> Result<String, PluginFailure> {
        let bounds = Bounds::of(limits, 0);
        let answer = self.ask_once(plugin, code, limits, &Request::Describe, &[], &bounds);
        answer.map_err(|broken| broken.failure(plugin.name, "describe"))?.text(plugin)
    }

    /// A process that waits may have been ended meanwhile: then another one is asked. One that is lost over a request is
    /// not asked again, nor is another.
    fn ask(
        &self,
        plugin: Called<'_>,
        code: &Arc<SharedCode>,
        limits: &PluginLimits,
        request: &Request,
        body: Vec<u8>,
        payload_bytes: usize,
    ) -> Result<Answer, Broken> {
        let service =
            Service { code: code.id(), config: plugin.config.map(str::to_owned), caller: thread::current().id() };
        let bounds = Bounds::of(limits, payload_bytes);
        if let Some(mut process) = self.take(&service) {
            match process.ask(request, &body, &bounds) {
                Err(Broken::BeforeIt) => {}
                answer => return self.keep_if_whole(service, code, process, answer),
            }
        }
        let mut process = self.start(plugin, code, limits)?;
        let answer = process.ask(request, &body, &bounds);
        self.keep_if_whole(service, code, process, answer)
    }

    /// By a process for this one request.
    fn ask_once(
        &self,
        plugin: Called<'_>,
        code: &SharedCode,
        limits: &PluginLimits,
        request: &Request,
        body: &[u8],
        bounds: &Bounds,
    ) -> Result<Answer, Broken> {
        self.start(plugin, code, limits)?.ask(request, body, bounds)
    }

    fn start(&self, plugin: Called<'_>, code: &SharedCode, limits: &PluginLimits) -> Result<GuestProcess, Broken> {
        let load = Load {
            plugin: plugin.name.clone(),
            config: plugin.config.map(str::to_owned),
            limits: *limits,
            grants: plugin.component.grants,
        };
        let program = self.program.as_deref().ok_or_else(|| Broken::Unavailable("there is no program".to_owned()))?;
        self.started.fetch_add(1, Ordering::Relaxed);
        GuestProcess::start(program, code, &load)
    }

    fn keep_if_whole(
        &self,
        service: Service,
        code: &Arc<SharedCode>,
        process: GuestProcess,
        answer: Result<Answer, Broken>,
    ) -> Result<Answer, Broken> {
        if answer.is_ok() {
            self.keep(Idle {
                service,
                process,
                code: Arc::downgrade(code),
                used: self.uses.fetch_add(1, Ordering::Relaxed),
            });
        }
        answer
    }

    fn take(&self, service: &Service) -> Option<GuestProcess> {
        let mut idle = self.idle();
        let place = idle.iter().position(|idle| idle.service == *service)?;
        Some(idle.swap_remove(place).process)
    }

    /// What makes room is ended outside the lock.
    fn keep(&self, kept: Idle) {
        let mut idle = self.idle();
        idle.push(kept);
        let mut ended: Vec<_> = idle.extract_if(.., |idle| idle.code.strong_count() == 0).collect();
        if idle.len() > GUEST_PROCESSES_MAX {
            let oldest = (0..idle.len()).min_by_key(|place| idle[*place].used);
            ended.extend(oldest.map(|place| idle.swap_remove(place)));
        }
        drop(idle);
        drop(ended);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
