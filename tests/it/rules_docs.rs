//! The rules that the pages show can be applied.

use runhook::definition::{Format, parse, plan, read_document};
use runhook::model::Timestamp;

const PAGES: &[(&str, &str)] = &[
    ("README.md", include_str!("../../README.md")),
    ("docs/rules.md", include_str!("../../docs/rules.md")),
    ("docs/receiving.md", include_str!("../../docs/receiving.md")),
];

#[test]
fn the_rules_that_the_pages_show_can_be_applied() {
    for (name, page) in PAGES {
        let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let blocks: Vec<_> = blocks.filter(|block| block.contains("[[rules]]")).collect();
        assert!(!blocks.is_empty(), "{name} shows no rules");
        for block in blocks {
            let document = parse(Format::Toml, block).unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            let definitions = read_document(&document).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}\n{block}"));
            let planned = plan(definitions, &[], &[], false, Timestamp::UNIX_EPOCH);
            let planned = planned.unwrap_or_else(|wrong| panic!("{name}: {wrong:?}\n{block}"));
            assert!(!planned.is_empty(), "{name}\n{block}");
        }
    }
}
