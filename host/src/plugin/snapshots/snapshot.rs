//! A snapshot: the component with the memory that it has after `configure`. An instance of it is configured already.

use futures::FutureExt;
use wasmtime::component::{Instance, Lift, Linker, WasmList};
use wasmtime::{Engine, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::plugin::registry::component;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::call::{Called, configured};
use crate::plugin::sandbox::engine::{Ticker, for_snapshots};
use crate::plugin::sandbox::linker::linker;
use crate::plugin::workshop::errand::{Configuration, Product, Unmade};

/// What a plugin is told to have done that cannot be snapshotted.
const KEPT_HANDLE: &str = "it keeps a handle or a stream of the host across `configure`, as one that prints there does";

/// What snapshots are made with: an engine of its own, with the limits of any other guest.
pub(in crate::plugin) struct Studio {
    engine: Engine,
    linker: Linker<Sandbox>,
    ticker: Ticker,
}

impl Studio {
    pub(in crate::plugin) fn start() -> wasmtime::Result<Self> {
        let engine = for_snapshots()?;
        let linker = linker(&engine)?;
        let ticker = Ticker::start(&engine)?;
        Ok(Self { engine, linker, ticker })
    }

    /// Runs `configure` in an instance whose memory can be looked into, and writes the memory into the component.
    ///
    /// # Errors
    /// The plugin's failure, or why no snapshot can be made.
    pub(in crate::plugin) fn snapshot(&self, component: &[u8], configuration: &Configuration) -> Product {
        let mut wizer = Wizer::new();
        // A component's exports are part of its type; that it has been called is the host's to know.
        wizer.keep_init_func(true);
        let (context, instrumented) = wizer.instrument_component(component).map_err(|error| unfit(&error))?;
        let callable = component::load(&self.engine, &self.linker, &instrumented, configuration.grants)
            .map_err(|refusal| Unmade::Unfit(refusal.to_string()))?;
        let called = Called { name: &configuration.plugin, component: &callable, config: Some(&configuration.config) };
        let _running = self.ticker.running();
        let (mut store, instance) = configured(called, &configuration.limits).map_err(Unmade::Failed)?;
        if store.data().holds_handles() {
            return Err(Unmade::Unfit(KEPT_HANDLE.to_owned()));
        }
        // Reading is the host's work, not the guest's. It takes a page of each memory for itself.
        store.data_mut().usage.limits.memory_bytes = usize::MAX;
        store.set_epoch_deadline(u64::MAX / 2);
        store.set_hostcall_fuel(usize::MAX);
        let mut state = State { store: &mut store, instance };
        let taken = wizer.snapshot_component(&context, &mut state).now_or_never();
        let taken = taken.ok_or_else(|| Unmade::Unfit("its memory cannot be read".to_owned()))?;
        taken.map_err(|error| unfit(&error))
    }
}

fn unfit(error: &wasmtime::Error) -> Unmade {
    Unmade::Unfit(component::one_line(error))
}

/// A configured instance, as the snapshot tool looks into it. What is not there makes the tool give up, by a panic, as its
/// own sources do.
struct State<'a> {
    store: &'a mut Store<Sandbox>,
    instance: Instance,
}

impl State<'_> {
    fn ask<T: Lift + 'static>(&mut self, interface: &str, function: &str) -> T {
        let index = self.instance.get_export_index(&mut *self.store, None, interface);
        let index = index.and_then(|index| self.instance.get_export_index(&mut *self.store, Some(&index), function));
        let index = index.expect("it was put there");
        let function = self.instance.get_typed_func::<(), (T,)>(&mut *self.store, index);
        let answer = function.and_then(|function| function.call(&mut *self.store, ()));
        answer.expect("it only reads").0
    }
}

impl ComponentInstanceState for State<'_> {
    async fn call_func_ret_list_u8(&mut self, interface: &str, function: &str, contents: impl FnOnce(&[u8]) + Send) {
        let bytes: WasmList<u8> = self.ask(interface, function);
        contents(bytes.as_le_slice(&*self.store));
    }

    async fn call_func_ret_s32(&mut self, interface: &str, function: &str) -> i32 {
        self.ask(interface, function)
    }

    async fn call_func_ret_s64(&mut self, interface: &str, function: &str) -> i64 {
        self.ask(interface, function)
    }

    async fn call_func_ret_f32(&mut self, interface: &str, function: &str) -> u32 {
        self.ask::<f32>(interface, function).to_bits()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, function: &str) -> u64 {
        self.ask::<f64>(interface, function).to_bits()
    }
}
