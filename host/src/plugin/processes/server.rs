//! The other end: what a guest process does. It loads one plugin, confines itself, and passes payloads through it until
//! the host lets go of it.

use std::io::{self, Write, stdin};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::stdio;
use wasmtime::Engine;

use crate::document::Document;
use crate::plugin::processes::exchange::{Came, Load, Parts, Request, Said};
use crate::plugin::registry::component::{self, Callable};
use crate::plugin::sandbox::call::{self, Called, Usage};
use crate::plugin::sandbox::engine::{Ticker, for_one_guest};
use crate::plugin::sandbox::linked::Links;
use crate::plugin::sandbox::linker::linker;
use crate::plugin::snapshots::machine_code::from_parent;
use crate::plugin::workshop::confine::{Use, confine};
use crate::plugin::workshop::message;

/// Bytes of a request at most: a payload, the same as it came, and what was fetched for it.
const REQUEST_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Serves until the pipe ends.
///
/// # Errors
/// The pipe's.
pub(in crate::plugin) fn serve(free: Result<(), String>) -> io::Result<()> {
    // A guest's output is written within a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let _entered = runtime.enter();
    let (load, _) = message::read::<Load>(&mut stdin().lock(), message::HEAD_BYTES_MAX, 0)?;
    let ready = free.and_then(|()| Server::ready(load));
    message::write(&mut Answers, &ready.as_ref().map(drop), &[])?;
    let Ok(server) = ready else { return Ok(()) };
    loop {
        let (request, body) = match message::read(&mut stdin().lock(), message::HEAD_BYTES_MAX, REQUEST_BYTES_MAX) {
            Ok(request) => request,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let (said, body) = server.answer(request, body)?;
        message::write(&mut Answers, &said, &body)?;
    }
}

/// Standard output, not cut into lines.
struct Answers;

impl Write for Answers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Server {
    load: Load,
    component: Callable,
    ticker: Ticker,
}

impl Server {
    /// All that needs more than the confinement leaves is done before it: code is mapped, threads are started.
    fn ready(load: Load) -> Result<Self, String> {
        let prepare = || -> wasmtime::Result<(Engine, component::Linked)> {
            let engine = for_one_guest(&load.limits)?;
            let code = from_parent(&engine, stdio::stderr().as_fd())?;
            let linker = linker(&engine)?;
            let linked = component::link(&engine, &linker, &code, load.grants);
            Ok((engine, linked.map_err(|refusal| wasmtime::Error::msg(refusal.to_string()))?))
        };
        let (engine, linked) = prepare().map_err(|error| component::one_line(&error))?;
        let ticker = Ticker::start(&engine).map_err(|error| error.to_string())?;
        confine(Use::Server)?;
        Ok(Self { component: Callable::here(linked, String::new()), load, ticker })
    }

    fn answer(&self, request: Request, body: Vec<u8>) -> io::Result<(Said, Vec<u8>)> {
        let _running = self.ticker.running();
        let (plugin, limits) = (self.called(), &self.load.limits);
        let (came, usage) = match request {
            Request::Describe => {
                (call::describe(plugin, limits).map(|text| (Came::Text, text.into_bytes())), Usage::default())
            }
            Request::Configure => {
                (call::configured(plugin, limits).map(|_| (Came::Done, Vec::new())), Usage::default())
            }
            Request::Process(parts) => self.process(parts, body)?,
        };
        Ok(match came {
            Ok((came, body)) => (Said { came: Ok(came), usage }, body),
            Err(failure) => (Said { came: Err(failure), usage }, Vec::new()),
        })
    }

    /// What the host sends can be read; where it cannot, this end is broken.
    fn process(&self, parts: Parts, body: Vec<u8>) -> io::Result<(Processed, Usage)> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let (document, source, fetched) = parts.taken_apart(body).ok_or_else(broken)?;
        let document = Document::parse(document).map_err(|_| broken())?;
        let source = source.map_or_else(|| Ok(document.clone()), Document::parse).map_err(|_| broken())?;
        let links = Arc::new(Links::of(&source, Arc::new(fetched)));
        let (made, usage) = call::process(self.called(), document.clone(), &links, &self.load.limits);
        Ok((made.map(|made| Came::of(made, &document, &source)), usage))
    }

    fn called(&self) -> Called<'_> {
        Called { name: &self.load.plugin, component: &self.component, config: self.load.config.as_deref() }
    }
}

type Processed = Result<(Came, Vec<u8>), crate::model::plugin::PluginFailure>;
