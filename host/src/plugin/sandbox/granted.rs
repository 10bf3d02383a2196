//! What is granted to some plugins beside the contract: the time, which stands still during a call, and numbers that
//! look random and are the same for the same payload. Nothing here waits and nothing tells one payload of another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blake3::OutputReader;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, random};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::plugin::sandbox::{LimitHit, Sandbox};

/// Random bytes that one call may ask for: a seed has 32.
const RANDOM_BYTES_MAX: u64 = 64 * 1024;

/// What a clock that does not run shows for its origin; not 0, since guests subtract from it.
const MONOTONIC_NOW: u64 = 3_600_000_000_000;

/// A source of numbers, seeded with the plugin's name and the payload.
pub(in crate::plugin) struct Randomness(OutputReader);

impl Sandbox {
    fn now(&mut self) -> Duration {
        *self.now.get_or_insert_with(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn random(&mut self, bytes: u64) -> wasmtime::Result<Vec<u8>> {
        self.usage.call()?;
        if bytes > RANDOM_BYTES_MAX {
            return Err(self.usage.hit(LimitHit::Random(RANDOM_BYTES_MAX)));
        }
        self.usage.count_out(bytes)?;
        let mut drawn = vec![0; bytes as usize];
        let (plugin, source) = (&self.plugin, self.links.source());
        let randomness = self.random.get_or_insert_with(|| {
            let mut seed = blake3::Hasher::new_derive_key("runhook 2026 numbers for a plugin's payload");
            seed.update(plugin.as_str().as_bytes()).update(&[0]).update(source);
            Randomness(seed.finalize_xof())
        });
        randomness.0.fill(&mut drawn);
        Ok(drawn)
    }

    fn random_u64(&mut self) -> wasmtime::Result<u64> {
        let drawn = self.random(8)?;
        Ok(drawn.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

impl wall_clock::Host for Sandbox {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.usage.call()?;
        let now = Sandbox::now(self);
        Ok(wall_clock::Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.usage.call()?;
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl monotonic_clock::Host for Sandbox {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.usage.call()?;
        Ok(MONOTONIC_NOW)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.usage.call()?;
        Ok(1)
    }

    fn subscribe_instant(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.no_wait()
    }

    fn subscribe_duration(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.no_wait()
    }
}

impl Sandbox {
    /// Where no time passes, whatever is waited for is due: a guest that sleeps goes on at once.
    fn no_wait(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        self.usage.call()?;
        let due = self.table.push(Due)?;
        subscribe(&mut self.table, due)
    }
}

struct Due;

#[async_trait::async_trait]
impl Pollable for Due {
    async fn ready(&mut self) {}
}

impl random::Host for Sandbox {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        Sandbox::random(self, len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_u64()
    }
}

impl insecure::Host for Sandbox {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        Sandbox::random(self, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_u64()
    }
}
