//! runhook: a self-hosted, programmable delivery engine for LLM-run webhooks.
//!
//! A batch of **runs** is *ingested* ([`ingest`], [`intake`]); each **rule** is *matched* ([`matching`]) and the
//! **payload** is *built* ([`mod@payload`]), or a finished one comes in at the relay door; **plugins** *filter*,
//! *transform* and *render* it ([`plugin`]), one chain per webhook of the rule; a **delivery** is *queued* ([`fanout`]);
//! a worker *claims* it, *sends* one **attempt** to the **endpoint** ([`outbound`]) and *records* the **outcome**
//! ([`dispatch`]). What is durable is in the [`store`].
//!
//! Three paths, each ending in exactly one transaction of the [`store`]: ACCEPT, FAN OUT, DELIVER. The modules stand
//! in the order of the pipeline, with what they all use first.

pub mod aside;
pub mod clock;
pub mod limits;
pub mod model;
pub mod nearest;

pub mod access;
pub mod api;
pub mod ingest;
pub mod intake;
pub mod layers;
pub mod reading;

pub mod filter;
pub mod matching;
pub mod payload;
pub mod said;
pub mod selection;

pub mod document;
pub mod fanout;
pub mod plugin;
pub mod sampling;

pub mod dispatch;
pub mod offload;
pub mod outbound;
pub mod release;
pub mod retention;

pub mod blobs;
pub mod definition;
pub mod links;
pub mod pem;
pub mod references;
pub mod rotation;
pub mod rulebook;
pub mod secrets;
pub mod store;

pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod receiver;
pub mod shutdown;
pub mod telemetry;
