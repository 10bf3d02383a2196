//! The course of one plugin with one configuration: faults are counted, too many of them put it into quarantine, and a
//! probe that passes lets it out. Pure; time is handed in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::after;
use crate::limits::{QUARANTINE_FAULTS, QUARANTINE_PAUSE_MAX, QUARANTINE_PAUSE_MIN, QUARANTINE_WINDOW};
use crate::model::Timestamp;

/// Whether a payload meets the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// As any other.
    Free,
    /// As the probe, of which there is one at a time.
    Probe,
    /// Not at all.
    TurnedAway,
}

/// What is known of its faults.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The last few, the oldest first; none while in quarantine.
    faults: VecDeque<Timestamp>,
    quarantine: Option<Quarantine>,
}

/// From the fault that was one too many until a probe passes.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    pub(super) since: Timestamp,
    /// The last fault, in words.
    pub(super) cause: String,
    /// When the next payload is the probe.
    pub(super) probe_at: Timestamp,
    /// Payloads that did not meet the plugin.
    pub(super) turned_away: u64,
    pause: Duration,
    is_probed: bool,
}

impl Course {
    pub(super) fn quarantine(&self) -> Option<&Quarantine> {
        self.quarantine.as_ref()
    }

    /// As [`Course::admit`] would answer.
    pub(super) fn would_admit(&self, now: Timestamp) -> Admission {
        match &self.quarantine {
            None => Admission::Free,
            Some(quarantine) if quarantine.is_due(now) => Admission::Probe,
            Some(_) => Admission::TurnedAway,
        }
    }

    /// Asked before each payload. Whoever gets the probe has to say what came of it.
    pub(super) fn admit(&mut self, now: Timestamp) -> Admission {
        let admission = self.would_admit(now);
        if let Some(quarantine) = &mut self.quarantine {
            match admission {
                Admission::Probe => quarantine.is_probed = true,
                _ => quarantine.turned_away += 1,
            }
        }
        admission
    }

    /// A fault. Of what was admitted before the quarantine began, it changes nothing more. True where it begins one.
    pub(super) fn faulted(&mut self, now: Timestamp, is_probe: bool, cause: &str) -> bool {
        match &mut self.quarantine {
            Some(quarantine) if is_probe => quarantine.lengthen(now, cause),
            Some(_) => {}
            None => {
                self.faults.push_back(now);
                let oldest = self.faults.len().saturating_sub(QUARANTINE_FAULTS);
                self.faults.drain(..oldest);
                let is_enough = self.faults.len() == QUARANTINE_FAULTS && is_recent(self.faults[0], now);
                if is_enough {
                    self.faults.clear();
                    self.quarantine = Some(Quarantine::begin(now, cause));
                }
                return is_enough;
            }
        }
        false
    }

    /// The probe passed.
    pub(super) fn passed_probe(&mut self) {
        self.quarantine = None;
    }

    /// The probe came to no end: another may be it.
    pub(super) fn gave_probe_back(&mut self) {
        if let Some(quarantine) = &mut self.quarantine {
            quarantine.is_probed = false;
        }
    }

    /// When it failed last, or was to be tried.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.quarantine.as_ref().map(|quarantine| quarantine.probe_at).or(self.faults.back().copied())
    }

    /// Whether it is as if it had never failed.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.quarantine.is_none() && self.faults.back().is_none_or(|last| !is_recent(*last, now))
    }
}

impl Quarantine {
    fn begin(now: Timestamp, cause: &str) -> Self {
        let pause = QUARANTINE_PAUSE_MIN;
        let (probe_at, cause) = (after(now, pause), cause.to_owned());
        Self { since: now, cause, probe_at, turned_away: 0, pause, is_probed: false }
    }

    fn lengthen(&mut self, now: Timestamp, cause: &str) {
        self.pause = (self.pause * 2).min(QUARANTINE_PAUSE_MAX);
        self.probe_at = after(now, self.pause);
        self.is_probed = false;
        cause.clone_into(&mut self.cause);
    }

    /// The clock may have been set back: no pause is longer than it was begun with.
    fn is_due(&self, now: Timestamp) -> bool {
        let is_past = now >= self.probe_at || after(now, self.pause) < self.probe_at;
        is_past && !self.is_probed
    }
}

fn is_recent(fault: Timestamp, now: Timestamp) -> bool {
    fault <= now && now < after(fault, QUARANTINE_WINDOW)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> Timestamp {
        "2026-07-01T09:00:00Z".parse().unwrap()
    }

    fn seconds(seconds: u64) -> Timestamp {
        after(start(), Duration::from_secs(seconds))
    }

    fn in_quarantine() -> Course {
        let mut course = Course::default();
        for _ in 0..QUARANTINE_FAULTS {
            course.faulted(start(), false, "it trapped");
        }
        course
    }

    #[test]
    fn five_faults_within_a_minute_are_a_quarantine_and_five_in_more_are_none() {
        let mut course = Course::default();
        for second in [0, 10, 20, 30] {
            assert!(!course.faulted(seconds(second), false, "it trapped"));
        }
        assert!(!course.faulted(seconds(60), false, "it trapped"), "the first was a minute ago");
        assert_eq!(course.admit(seconds(60)), Admission::Free);
        assert!(course.faulted(seconds(61), false, "the last"));
        assert_eq!(course.admit(seconds(61)), Admission::TurnedAway);
        assert_eq!(course.quarantine().unwrap().cause, "the last");
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_the_next_quarantine_begins_with_the_shortest() {
        let mut course = in_quarantine();
        let mut now = start();
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(
                course.admit(after(now, Duration::from_secs(pause) - Duration::from_millis(1))),
                Admission::TurnedAway
            );
            now = after(now, Duration::from_secs(pause));
            assert_eq!(course.admit(now), Admission::Probe, "after {pause} s");
            assert_eq!(course.admit(now), Admission::TurnedAway, "there is one probe at a time");
            course.faulted(now, true, "it trapped");
        }
        now = after(now, QUARANTINE_PAUSE_MAX);
        assert_eq!(course.admit(now), Admission::Probe);
        course.passed_probe();
        assert_eq!(course.admit(now), Admission::Free);
        for _ in 0..QUARANTINE_FAULTS {
            course.faulted(now, false, "it trapped");
        }
        assert_eq!(course.quarantine().unwrap().probe_at, after(now, QUARANTINE_PAUSE_MIN));
    }

    #[test]
    fn a_probe_that_came_to_no_end_is_another_ones() {
        let mut course = in_quarantine();
        assert_eq!(course.admit(seconds(1)), Admission::Probe);
        course.gave_probe_back();
        assert_eq!(course.admit(seconds(1)), Admission::Probe);
    }

    #[test]
    fn a_clock_that_is_set_back_lengthens_no_quarantine() {
        let mut course = in_quarantine();
        let before = start().checked_sub(Duration::from_hours(24)).unwrap();
        assert_eq!(course.admit(before), Admission::Probe);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Wait(u64),
        Begin,
        /// One of the payloads that are under way ends.
        Fault(prop::sample::Index),
        Pass(prop::sample::Index),
        GiveBack(prop::sample::Index),
    }

    fn event() -> impl Strategy<Value = Event> {
        let index = any::<prop::sample::Index>();
        prop_oneof![
            (0u64..40_000).prop_map(Event::Wait),
            Just(Event::Begin),
            index.prop_map(Event::Fault),
            any::<prop::sample::Index>().prop_map(Event::Fault),
            any::<prop::sample::Index>().prop_map(Event::Pass),
            any::<prop::sample::Index>().prop_map(Event::GiveBack),
        ]
    }

    proptest! {
        /// Against a model that remembers every fault since the plugin was well.
        #[test]
        fn whatever_happens_quarantine_begins_with_the_fifth_fault_and_ends_with_a_probe(
            events in prop::collection::vec(event(), 0..200),
        ) {
            let (mut course, mut now) = (Course::default(), start());
            let mut under_way: Vec<Admission> = Vec::new();
            let (mut faults, mut since, mut failed_probes): (Vec<Timestamp>, Option<Timestamp>, u32) = (vec![], None, 0);
            for event in events {
                match event {
                    Event::Wait(milliseconds) => now = after(now, Duration::from_millis(milliseconds)),
                    Event::Begin => {
                        let has_probe = under_way.contains(&Admission::Probe);
                        let admission = course.admit(now);
                        prop_assert_eq!(admission == Admission::Free, since.is_none());
                        prop_assert!(admission != Admission::Probe || !has_probe, "two probes at once");
                        if admission == Admission::Probe {
                            prop_assert!(now >= course.quarantine().unwrap().probe_at);
                        }
                        if admission != Admission::TurnedAway {
                            under_way.push(admission);
                        }
                    }
                    Event::Fault(at) if !under_way.is_empty() => {
                        let is_probe = under_way.swap_remove(at.index(under_way.len())) == Admission::Probe;
                        let begins = course.faulted(now, is_probe, "it trapped");
                        match since {
                            None => {
                                faults.push(now);
                                let recent = faults.iter().filter(|fault| is_recent(**fault, now)).count();
                                prop_assert_eq!(begins, recent >= QUARANTINE_FAULTS);
                                if begins {
                                    (since, failed_probes) = (Some(now), 0);
                                }
                            }
                            Some(_) => {
                                prop_assert!(!begins);
                                failed_probes += u32::from(is_probe);
                                if is_probe {
                                    let doubled = QUARANTINE_PAUSE_MIN * 2u32.saturating_pow(failed_probes);
                                    let pause = doubled.min(QUARANTINE_PAUSE_MAX);
                                    prop_assert_eq!(course.quarantine().unwrap().probe_at, after(now, pause));
                                }
                            }
                        }
                    }
                    Event::Pass(at) | Event::GiveBack(at) if !under_way.is_empty() => {
                        let is_probe = under_way.swap_remove(at.index(under_way.len())) == Admission::Probe;
                        match (event, is_probe) {
                            (_, false) => {}
                            (Event::Pass(_), true) => {
                                course.passed_probe();
                                (since, faults) = (None, Vec::new());
                            }
                            _ => course.gave_probe_back(),
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(course.quarantine().map(|quarantine| quarantine.since), since);
                prop_assert!(course.faults.len() <= QUARANTINE_FAULTS);
            }
        }
    }
}
