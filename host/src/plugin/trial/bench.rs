//! A plugin over many payloads, for `plugin bench`: one after the other on a thread of its own, each in a fresh instance,
//! as fan-out does it.
//!
//! The host's own share is measured in the same run, round by round: a machine that is slow for a while is slow for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Prepared, TrialReport, outcome};
use crate::document::{Document, DocumentError};
use crate::model::plugin::PluginFailure;
use crate::plugin::pool::on_own_thread;
use crate::plugin::sandbox::call::Usage;
use crate::plugin::sandbox::linked::Links;

/// For caches and the processor's clock to settle.
const WARM_UP: Duration = Duration::from_millis(500);

/// Figures are kept one by one to be sorted; a million is 64 MiB of them, and tells no less than ten.
const PAYLOADS_MAX: usize = 1_000_000;

/// What a bench has found.
#[derive(Debug)]
pub enum Benched {
    /// The figures.
    Measured(Measured),
    /// The plugin failed, on the last of so many payloads.
    Failed(TrialReport, usize),
}

/// The figures of a plugin on one payload, over and over.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How often it was passed through, the warm-up left out.
    pub payloads: usize,
    /// Number of runs in it.
    pub runs: usize,
    /// A payload from text to text: parsed, through the plugin in a fresh instance, written.
    pub payload: Spread,
    /// CPU time of the plugin in it.
    pub cpu: Spread,
    /// A fresh instance alone, configured and thrown away.
    pub instance: Spread,
    /// The payload without a plugin: parsed and written.
    pub host: Spread,
    /// Linear memory at its largest, in bytes.
    pub memory_bytes: usize,
    /// The last payload's, for what it may use.
    pub usage: Usage,
}

/// How a figure spreads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half are below.
    pub p50: Duration,
    /// One in a hundred is above.
    pub p99: Duration,
    /// The largest.
    pub max: Duration,
    /// On average.
    pub mean: Duration,
}

impl Spread {
    /// Of at least one figure; of none, zeros.
    fn of(mut figures: Vec<Duration>) -> Self {
        figures.sort_unstable();
        let Some(max) = figures.last().copied() else { return Self::default() };
        let at = |share: f64| figures[((figures.len() - 1) as f64 * share).round() as usize];
        let mean = figures.iter().sum::<Duration>().div_f64(figures.len() as f64);
        Self { p50: at(0.5), p99: at(0.99), max, mean }
    }

    /// The share of one in so many.
    pub fn per(&self, count: u32) -> Self {
        let Self { p50, p99, max, mean } = *self;
        Self { p50: p50 / count, p99: p99 / count, max: max / count, mean: mean / count }
    }
}

/// The figures as they come.
#[derive(Default)]
struct Figures {
    payload: Vec<Duration>,
    cpu: Vec<Duration>,
    instance: Vec<Duration>,
    host: Vec<Duration>,
    memory_bytes: usize,
    usage: Usage,
}

impl Prepared<'_> {
    /// Passes a payload through the plugin again and again for that long, or a million times. Blocks.
    ///
    /// # Errors
    /// That the payload is none.
    pub fn bench(&self, payload: &Bytes, duration: Duration) -> Result<Benched, DocumentError> {
        // What fails at all fails here, with all that there is to say about it.
        let first = self.run(payload.clone())?;
        if first.result.is_err() {
            return Ok(Benched::Failed(first, 1));
        }
        let runs = first.runs_before;
        Ok(on_own_thread(|| {
            let mut figures = Figures::default();
            let measured = self.rounds(payload, WARM_UP, &mut figures).and_then(|()| {
                figures = Figures::default();
                self.rounds(payload, duration, &mut figures)
            });
            match measured {
                Ok(()) => Benched::Measured(figures.summed_up(runs)),
                Err(failure) => {
                    let (payloads, usage) = (figures.host.len(), figures.usage);
                    let report = TrialReport { result: Err(failure), usage, runs: Vec::new(), runs_before: runs };
                    Benched::Failed(report, payloads)
                }
            }
        }))
    }

    fn rounds(&self, payload: &Bytes, duration: Duration, figures: &mut Figures) -> Result<(), PluginFailure> {
        let begun = Instant::now();
        while begun.elapsed() < duration && figures.payload.len() < PAYLOADS_MAX {
            self.round(payload, figures)?;
        }
        Ok(())
    }

    fn round(&self, payload: &Bytes, figures: &mut Figures) -> Result<(), PluginFailure> {
        let at = Instant::now();
        drop(Document::parse(payload.clone()).map(|document| document.to_bytes()));
        figures.host.push(at.elapsed());

        let at = Instant::now();
        self.instantiate()?;
        figures.instance.push(at.elapsed());

        let at = Instant::now();
        // It could be parsed a moment ago.
        let Ok(document) = Document::parse(payload.clone()) else { return Ok(()) };
        let links = Arc::new(Links::of(&document, Arc::default()));
        let (made, usage) =
            self.trial.loader.guests.process(self.called(), document, &links, &self.trial.active.terms.limits);
        let passed = made.and_then(outcome).map(drop);
        figures.payload.push(at.elapsed());
        figures.cpu.push(usage.cpu);
        figures.memory_bytes = figures.memory_bytes.max(usage.memory_bytes);
        figures.usage = usage;
        passed
    }
}

impl Figures {
    fn summed_up(self, runs: usize) -> Measured {
        Measured {
            payloads: self.payload.len(),
            runs,
            payload: Spread::of(self.payload),
            cpu: Spread::of(self.cpu),
            instance: Spread::of(self.instance),
            host: Spread::of(self.host),
            memory_bytes: self.memory_bytes,
            usage: self.usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{PluginPolicy, Trial};

    const PAYLOAD: &[u8] = br#"{"runs":[{"id":"1","status":"error"},{"id":"2","status":"success"}]}"#;

    #[test]
    fn a_spread_names_the_middle_the_hundredth_and_the_largest() {
        let spread = Spread::of((1..=1000).rev().map(Duration::from_micros).collect());
        let micros = [spread.p50, spread.p99, spread.max, spread.mean].map(|figure| figure.as_micros());
        assert_eq!(micros, [501, 990, 1000, 500]);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn a_bench_measures_the_plugin_beside_the_host_alone() {
        let plugin = Trial::built_in(&"errors-only".parse().unwrap(), PluginPolicy::default()).unwrap();
        let benched = plugin.prepare("{}").bench(&Bytes::from_static(PAYLOAD), Duration::from_millis(200)).unwrap();
        let Benched::Measured(measured) = benched else { panic!("{benched:?}") };
        assert!(measured.payloads > 10 && measured.runs == 2, "{measured:?}");
        assert!(measured.memory_bytes > 0 && measured.cpu.p50 <= measured.usage.cpu_max, "{measured:?}");
        assert!(
            measured.host.p50 < measured.payload.p50 && measured.payload.p50 <= measured.payload.max,
            "{measured:?}"
        );
    }

    #[test]
    fn a_plugin_that_fails_is_not_measured() {
        let plugin = Trial::built_in(&"redact".parse().unwrap(), PluginPolicy::default()).unwrap();
        let prepared = plugin.prepare(r#"{"patterns": ["("]}"#);
        let benched = prepared.bench(&Bytes::from_static(PAYLOAD), Duration::from_secs(5)).unwrap();
        assert!(matches!(benched, Benched::Failed(ref report, 1) if report.result.is_err()), "{benched:?}");
    }
}
