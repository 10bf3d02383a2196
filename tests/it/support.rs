//! What the end-to-end tests speak in: receivers that do as scripted, the delivery side of the engine around them, and
//! a runtime with plugins of the tests' own.

pub(crate) mod authority;
pub(crate) mod children;
pub(crate) mod connect_proxy;
pub(crate) mod engine;
pub(crate) mod faulty_store;
pub(crate) mod guest_crate;
pub(crate) mod liar;
pub(crate) mod payloads;
pub(crate) mod peers;
pub(crate) mod plugin_cache;
pub(crate) mod plugin_scene;
pub(crate) mod receiver;
mod recording;
pub(crate) mod request;
pub(crate) mod tls;
pub(crate) mod token_server;
pub(crate) mod waiting;

pub(crate) use recording::recording_receiver;
