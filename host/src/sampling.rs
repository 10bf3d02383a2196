//! Sampling: which runs a rule draws. Pure: the lot of a run depends on the rule, the run and the rate alone.

use crate::document::{Document, RunKey};
use crate::model::ids::RuleId;

/// Takes out of the payload the runs that the rule does not draw.
///
/// A run without an `id` is always kept: it has no lot to draw by.
pub fn sample(document: &mut Document, rule: RuleId, rate: f64) {
    let runs: Vec<RunKey> = document.runs().collect();
    for run in runs {
        let is_kept = document.run_text(run, "/id").is_none_or(|id| is_drawn(rule, &id, rate));
        if !is_kept {
            document.drop_run(run);
        }
    }
}

/// Whether the rule draws the run: the same answer every time, independent of other rules.
pub fn is_drawn(rule: RuleId, run_id: &str, rate: f64) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(rule.0.as_bytes());
    hasher.update(run_id.as_bytes());
    let mut lot = [0; 8];
    lot.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // 53 bits: as many as a double holds without rounding, so that a rate of 1 draws every run.
    let lot = (u64::from_le_bytes(lot) >> 11) as f64 / (1u64 << 53) as f64;
    lot < rate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rule: RuleId, rate: f64) -> Vec<u32> {
        (0..10_000).filter(|run| is_drawn(rule, &format!("run-{run}"), rate)).collect()
    }

    #[test]
    fn a_rate_of_one_draws_all_and_of_zero_none() {
        let rule = RuleId::generate();
        assert_eq!(drawn(rule, 1.0).len(), 10_000);
        assert_eq!(drawn(rule, 0.0).len(), 0);
    }

    #[test]
    fn a_quarter_of_the_runs_is_drawn_and_always_the_same_quarter() {
        let rule = RuleId::generate();
        let runs = drawn(rule, 0.25);
        // 10,000 draws at p = 0.25: six standard deviations are 260.
        assert!((2_240..=2_760).contains(&runs.len()), "{}", runs.len());
        assert_eq!(runs, drawn(rule, 0.25));
    }

    #[test]
    fn two_rules_draw_independently() {
        let (one, other) = (drawn(RuleId::generate(), 0.5), drawn(RuleId::generate(), 0.5));
        let both = one.iter().filter(|run| other.binary_search(run).is_ok()).count();
        assert!((2_240..=2_760).contains(&both), "{both}");
    }

    #[test]
    fn runs_that_are_not_drawn_leave_the_payload() {
        let rule = RuleId::generate();
        let payload = br#"{"runs":[{"id":"a"},{"name":"has no id"}],"rule_id":"x"}"#;
        let mut document = Document::parse(bytes::Bytes::from_static(payload)).unwrap();
        sample(&mut document, rule, 0.0);
        assert_eq!(document.to_bytes(), r#"{"runs":[{"name":"has no id"}],"rule_id":"x"}"#.as_bytes());
    }
}
