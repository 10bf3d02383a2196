//! Whether a component's exports have the contract's shape: seen when it is loaded, not when its first payload comes.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, Resource};

use crate::plugin::registry::component::Exports;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::bindings::{BodyHandle, PayloadHandle, RunHandle};

type Checked = (&'static str, wasmtime::Result<()>);

/// Each export that is called with a payload, and where it has another shape, what is wrong.
pub(in crate::plugin) fn shapes(store: &mut Store<Sandbox>, instance: &Instance, exports: &Exports) -> Vec<Checked> {
    let mut checked =
        vec![("configure", has_shape::<(&str,), (Result<(), String>,)>(store, instance, &exports.configure))];
    if let Some(keep) = &exports.keep {
        checked.push(("keep", has_shape::<(Resource<RunHandle>,), (Result<bool, String>,)>(store, instance, keep)));
    }
    if let Some(apply) = &exports.apply {
        checked.push(("apply", has_shape::<(Resource<PayloadHandle>,), (Result<(), String>,)>(store, instance, apply)));
    }
    if let Some(render) = &exports.render {
        type Arguments = (Resource<PayloadHandle>, Resource<BodyHandle>);
        checked.push(("render", has_shape::<Arguments, (Result<bool, String>,)>(store, instance, render)));
    }
    checked
}

fn has_shape<Arguments, Answer>(
    store: &mut Store<Sandbox>,
    instance: &Instance,
    export: &ComponentExportIndex,
) -> wasmtime::Result<()>
where
    Arguments: ComponentNamedList + Lower,
    Answer: ComponentNamedList + Lift,
{
    instance.get_typed_func::<Arguments, Answer>(store, export).map(drop)
}
