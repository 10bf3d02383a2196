//! One process that serves a plugin, as the host sees it: started, asked, ended.

use std::io::{self, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName};
use crate::plugin::processes::bounds::Bounds;
use crate::plugin::processes::exchange::{Answer, Load, Request, Said};
use crate::plugin::processes::pipe::Pipe;
use crate::plugin::sandbox::call::capped;
use crate::plugin::sandbox::output_ring::printable;
use crate::plugin::snapshots::machine_code::SharedCode;
use crate::plugin::workshop::errand::CHILD;
use crate::plugin::workshop::message;
use crate::plugin::workshop::spawn::spawn;

/// How long a process may take to be ready: a busy machine must not fail an honest plugin.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a process gave no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// It was gone before it could be asked.
    BeforeIt,
    /// It is gone, for this reason.
    Lost(String),
    /// It did not answer in this time.
    Late(Duration),
    /// None can be had, or none that is confined.
    Unavailable(String),
}

impl Broken {
    pub(super) fn failure(self, plugin: &PluginName, export: &str) -> PluginFailure {
        let (kind, message) = match self {
            Self::BeforeIt => (PluginFailureKind::Trap, "its process ended before it began".to_owned()),
            Self::Lost(how) => (PluginFailureKind::Trap, format!("its process {how}")),
            Self::Late(time) => {
                (PluginFailureKind::Deadline, format!("its process did not answer within {} ms", time.as_millis()))
            }
            Self::Unavailable(why) => {
                let message = format!(
                    "no process of its own can be had: {why}; the plugin policy can have it run in the host's, `isolation = \"host\"`"
                );
                (PluginFailureKind::Load, message)
            }
        };
        PluginFailure { plugin: plugin.clone(), export: export.to_owned(), kind, message }
    }
}

/// Ended with this.
pub(super) struct GuestProcess {
    child: Child,
    input: Pipe,
    output: BufReader<Pipe>,
}

impl GuestProcess {
    /// Starts it, hands it the plugin, and waits until it is confined. It inherits the core that this thread runs on.
    pub(super) fn start(program: &Path, code: &SharedCode, load: &Load) -> Result<Self, Broken> {
        let unavailable = |error: io::Error| Broken::Unavailable(error.to_string());
        let mut command = Command::new(program);
        // The name is for whoever looks at the list of processes.
        command.args([CHILD, "serve", load.plugin.as_str()]).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(code.handed_over().map_err(unavailable)?);
        let mut child = spawn(&mut command).map_err(unavailable)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Broken::Unavailable("it has no pipes".to_owned()))?;
        let (input, output) = (Pipe::of(input.into()), Pipe::of(output.into()));
        let output = BufReader::with_capacity(64 * 1024, output.map_err(unavailable)?);
        let mut process = Self { child, input: input.map_err(unavailable)?, output };
        process.wait_for(START_TIMEOUT);
        let begun = message::write(&mut process.input, load, &[]);
        let ready =
            begun.and_then(|()| message::read::<Result<(), String>>(&mut process.output, message::WORDS_BYTES_MAX, 0));
        match ready {
            Ok((Ok(()), _)) => Ok(process),
            Ok((Err(why), _)) => Err(Broken::Unavailable(printable(capped(&why)))),
            Err(_) => Err(Broken::Unavailable(format!("it {}", process.end()))),
        }
    }

    /// Asks it, and bounds what it says and how long it takes.
    pub(super) fn ask(&mut self, request: &Request, body: &[u8], bounds: &Bounds) -> Result<Answer, Broken> {
        self.wait_for(bounds.time);
        message::write(&mut self.input, request, body).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Broken::BeforeIt,
            _ => self.broken(&error, bounds),
        })?;
        let answer = message::read::<Said>(&mut self.output, bounds.head_bytes, bounds.answer_bytes);
        let (said, body) = answer.map_err(|error| self.broken(&error, bounds))?;
        Ok(Answer { said, body })
    }

    fn wait_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.input.until = until;
        self.output.get_mut().until = until;
    }

    fn broken(&mut self, error: &io::Error, bounds: &Bounds) -> Broken {
        match error.kind() {
            io::ErrorKind::TimedOut => Broken::Late(bounds.time),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Broken::Lost(self.end()),
            _ => Broken::Lost("answered what is no answer".to_owned()),
        }
    }

    /// Ends it, and says how it had ended.
    fn end(&mut self) -> String {
        // One that has ended by itself keeps its own status.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => match status.signal() {
                Some(signal) => format!("ended by the signal {signal}"),
                None => format!("ended with the code {}", status.code().unwrap_or_default()),
            },
            Err(error) => format!("is lost: {error}"),
        }
    }
}

impl Drop for GuestProcess {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
