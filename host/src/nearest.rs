//! The nearest right word for a wrong one. Pure.

/// How alike two words have to be for one to be offered for the other, 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// The candidate that a misspelt word most likely means; none where nothing is like it.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &&str| strsim::jaro_winkler(&word.to_lowercase(), candidate);
    let best = candidates.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= LIKENESS_MIN).then_some(best)
}

/// `; did you mean X?`, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|best| format!("; did you mean `{best}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_nonsense_finds_none() {
        let words = ["errors-only", "sample", "redact", "truncate", "slack"];
        assert_eq!(nearest("error-only", words), Some("errors-only"));
        assert_eq!(nearest("Redcat", words), Some("redact"));
        assert_eq!(nearest("zzz", words), None);
        assert_eq!(did_you_mean("slak", words), "; did you mean `slack`?");
        assert_eq!(did_you_mean("qqq", words), "");
    }
}
