//! Keeps a share of the runs. A run's id alone decides, so that every webhook and every host keeps the same ones.

use runhook_sdk::prelude::*;
use runhook_sdk::serde::de::{Deserializer, Error as _};

#[config]
struct Config {
    /// The share that is kept, from 0 to 1.
    #[serde(deserialize_with = "share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    rate: f64,
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let rate = f64::deserialize(deserializer)?;
    let is_share = (0.0..=1.0).contains(&rate);
    if is_share { Ok(rate) } else { Err(D::Error::custom(format_args!("{rate} is not from 0 to 1"))) }
}

/// Keeps a share of the runs, always the same ones.
#[filter]
fn is_sampled(run: &Run, config: &Config) -> bool {
    position(&run.id()) < config.rate
}

/// A place from 0 to 1 for an id: FNV-1a, whose bits are then mixed, since ids of one moment differ in few.
fn position(id: &str) -> f64 {
    let fnv = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bits_53 = (mixed ^ (mixed >> 31)) >> 11;
    bits_53 as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rate: f64) -> Vec<usize> {
        let is_kept = |at: &usize| {
            let run = Run::from_json(&format!(r#"{{"id": "019bd0c5-0000-7000-8000-{at:012}"}}"#)).unwrap();
            is_sampled(&run, &Config { rate })
        };
        (0..4000).filter(is_kept).collect()
    }

    #[test]
    fn keeps_about_the_share() {
        assert_eq!((kept(0.0).len(), kept(1.0).len()), (0, 4000));
        let tenth = kept(0.1).len();
        assert!((320..480).contains(&tenth), "{tenth}");
    }

    #[test]
    fn a_larger_share_keeps_what_a_smaller_one_keeps() {
        let half = kept(0.5);
        assert!(kept(0.2).iter().all(|at| half.contains(at)));
    }

    #[test]
    fn refuses_a_rate_that_is_no_share() {
        let error = runhook_sdk::config::parse::<Config>(r#"{"rate": 50}"#).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "config field `rate`: 50 is not from 0 to 1");
    }
}
