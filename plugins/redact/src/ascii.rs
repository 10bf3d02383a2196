//! A search for all patterns at once in the ASCII text between two quotes, faster than one after another.

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::Compiler;
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Repetition};

/// Each step waits for the table; that many do so at once.
const LANES: usize = 4;

/// Where a table would be larger, there is none: making one takes time as well.
const TABLE_BYTES_MAX: usize = 192 * 1024;

/// Counting further would multiply the states of one pattern by those of the others.
const COUNTED_MAX: u32 = 4;

/// Finds every text that a pattern matches, and some others that are like it.
pub(crate) struct AsciiSearch(dense::DFA<Vec<u32>>);

impl AsciiSearch {
    /// None where a pattern needs more than ASCII or a large table.
    pub(crate) fn new(patterns: &[String]) -> Option<Self> {
        let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
        let patterns = patterns.iter().map(|pattern| parser.parse(pattern).ok().map(|parsed| relaxed(&parsed)));
        let patterns: Vec<Hir> = patterns.collect::<Option<_>>()?;
        let nfa = Compiler::new().build_many_from_hir(&patterns).ok()?;
        let config = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            // All states that are special are of matches then.
            .accelerate(false)
            .dfa_size_limit(Some(TABLE_BYTES_MAX))
            .determinize_size_limit(Some(2 * TABLE_BYTES_MAX));
        dense::Builder::new().configure(config).build_from_nfa(&nfa).ok().map(Self)
    }

    /// Where the first find ends that begins at `from` or after it, of those that have no quote within.
    pub(crate) fn end_of_next(&self, text: &str, from: usize) -> Option<usize> {
        if !self.may_match(text.as_bytes(), from) {
            return None;
        }
        let input = Input::new(text).range(from..).earliest(true);
        // It gives up nowhere; if it did, something may be there.
        self.0.try_search_fwd(&input).map_or(Some(from), |found| found.map(|end| end.offset()))
    }

    /// Looks at once in parts of the text, each of which begins at a quote.
    fn may_match(&self, text: &[u8], from: usize) -> bool {
        let share = (text.len() - from).div_ceil(LANES);
        let begin = |lane: usize| {
            let at = (from + lane * share).min(text.len());
            at + memchr::memchr(b'"', &text[at..]).unwrap_or(text.len() - at)
        };
        let begins: [usize; LANES] = std::array::from_fn(|lane| if lane == 0 { from } else { begin(lane) });
        let end = |lane: usize| *begins.get(lane + 1).unwrap_or(&text.len());
        let parts: [&[u8]; LANES] = std::array::from_fn(|lane| &text[begins[lane]..end(lane)]);
        let mut states: [StateID; LANES] = begins.map(|at| self.start(text, at));
        let together = parts.iter().map(|part| part.len()).min().unwrap_or(0);
        for at in 0..together {
            for (state, part) in states.iter_mut().zip(parts) {
                *state = self.0.next_state(*state, part[at]);
            }
            if states.iter().any(|state| self.0.is_special_state(*state)) {
                return true;
            }
        }
        states.into_iter().zip(parts).any(|(state, part)| self.ends_in_match(state, &part[together..]))
    }

    fn start(&self, text: &[u8], at: usize) -> StateID {
        let input = Input::new(text).range(at..).anchored(Anchored::No);
        self.0.start_state_forward(&input).expect("it is built for such a search")
    }

    fn ends_in_match(&self, mut state: StateID, rest: &[u8]) -> bool {
        for byte in rest {
            state = self.0.next_state(state, *byte);
            if self.0.is_special_state(state) {
                return true;
            }
        }
        self.0.is_match_state(self.0.next_eoi_state(state))
    }
}

/// A pattern that matches what this one does, and counts less.
fn relaxed(pattern: &Hir) -> Hir {
    match pattern.kind() {
        HirKind::Repetition(repetition) => {
            let is_short = repetition.max.unwrap_or(repetition.min) <= COUNTED_MAX;
            Hir::repetition(Repetition {
                min: repetition.min.min(COUNTED_MAX),
                max: repetition.max.filter(|_| is_short),
                greedy: repetition.greedy,
                sub: Box::new(relaxed(&repetition.sub)),
            })
        }
        HirKind::Capture(capture) => relaxed(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(relaxed).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(relaxed).collect()),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => pattern.clone(),
    }
}
