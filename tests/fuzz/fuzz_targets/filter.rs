//! Any bytes as a filter and, after a NUL, as the JSON of a run: neither may panic, overflow the stack or take long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runhook::filter::{Facts, Filter};
use runhook::model::ids::{ProjectId, RunId};
use runhook::model::run::{Costs, Run, Status, Tokens};
use uuid::Uuid;

fuzz_target!(|data: &[u8]| filter(data));

fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (source, document) = text.split_once('\0').unwrap_or((text, "{}"));
    match Filter::parse(source) {
        Err(error) => {
            assert!(error.at <= source.chars().count());
            assert_eq!(error.to_string().lines().count(), 3, "{error}");
        }
        Ok(filter) => {
            let run = run(document);
            let facts = Facts::new(&run, &[]);
            assert_eq!(filter.matches(&facts), filter.clone().matches(&Facts::new(&run, &[])));
            if let Ok(opposite) = Filter::parse(&format!("not({source})")) {
                assert_ne!(filter.matches(&facts), opposite.matches(&facts), "{source}");
            }
        }
    }
}

fn run(document: &str) -> Run {
    let id = RunId(Uuid::from_u128(1));
    let start = "2026-07-01T09:00:00Z".parse().expect("a time");
    Run {
        id,
        trace: id,
        parent: None,
        project: ProjectId(Uuid::from_u128(9)),
        name: "answer".to_owned(),
        run_type: "chain".to_owned(),
        dotted_order: String::new(),
        start_time: start,
        end_time: Some(start),
        first_token_time: None,
        modified_at: start,
        status: Status::Error,
        error: Some(document.to_owned()),
        tags: vec!["prod".to_owned()],
        tokens: Tokens::default(),
        costs: Costs::default(),
        reference_example: None,
        inputs: Some(document.into()),
        outputs: None,
        extra: Some(document.into()),
        events: None,
        serialized: None,
        blobs: Default::default(),
    }
}
