//! Plugins that mean harm, and what holds whatever they do: the host does not end, no thread is held beyond the plugin's
//! deadline, memory is bounded and given back, nobody else waits, the failure names plugin, export and cause, and the
//! payload goes the way that `on_error` says.
//!
//! What a plugin can do before it is one:
//!
//! | | | where |
//! |---|---|---|
//! | 1 | is no WebAssembly | load.rs |
//! | 2 | is cut, or has a bit flipped | load.rs |
//! | 3 | is a core module | load.rs |
//! | 4 | is made for another world | load.rs |
//! | 5 | imports what it is not granted | load.rs |
//! | 6 | imports what there is, with another type | load.rs |
//! | 7 | is too large a file | load.rs |
//! | 8 | takes for ever to compile | bomb.rs |
//! | 9 | has hundreds of core instances, huge tables, a huge memory from the start | load.rs |
//! | 10 | loops in its start function | load.rs |
//! | 11 | uses what the sandbox leaves out of WebAssembly | load.rs |
//! | 12 | comes with a forged or stale entry of the cache | snapshots.rs |
//! | 13 | is replaced while it is read, half copied, a link out of the directory, a FIFO | files.rs |
//! | 14 | is the second of its name | files.rs |
//!
//! What it can do to a payload:
//!
//! | | | where |
//! |---|---|---|
//! | 15 | loops | run.rs |
//! | 16 | takes memory without end, in one memory or several | run.rs, load.rs |
//! | 17 | overflows its stack | run.rs |
//! | 18 | reads beyond its memory | run.rs |
//! | 19 | panics | run.rs |
//! | 20 | ends its process | run.rs |
//! | 21 | traps, and would be called again | run.rs |
//! | 22 | answers or writes without end | run.rs |
//! | 23 | passes text that is no UTF-8 | run.rs |
//! | 24 | sets what is no JSON, or what hardly anybody writes | harmless.rs |
//! | 25 | nests JSON 10,000 deep | harmless.rs |
//! | 26 | sleeps or waits in the host | harmless.rs |
//! | 27 | calls the host without end | run.rs |
//! | 28 | asks for the whole payload a thousand times | harmless.rs |
//! | 29 | prints without end, and what terminals obey | harmless.rs |
//! | 30 | leaks handles, drops them twice, passes one for another | run.rs |
//! | 31 | keeps what it was lent | run.rs |
//! | 32 | traps while something is dropped | run.rs |
//! | 33 | calls itself through the host | run.rs |
//! | 34 | takes random numbers without end | run.rs |
//! | 35 | grows its tables without end | run.rs |
//! | 36 | is at work when the host is told to stop | stopping.rs |
//!
//! Who is innocent does not suffer: neighbours.rs. A million of such calls leave nothing behind: soak.rs. On a running host,
//! from the directory to the delivery: directory.rs.

mod bomb;
mod files;
mod handmade;
mod harmless;
mod load;
mod neighbours;
mod run;
mod soak;
mod stopping;

use std::collections::BTreeSet;

const CASES: u8 = 36;

/// Cases that stand in no table: the file, and the test in it.
const TESTS: &[(u8, &str, &str)] = &[
    (8, include_str!("hostile/bomb.rs"), "a_component_that_never_compiles_is_given_up_and_nobody_waits_for_it"),
    (12, include_str!("snapshots.rs"), "a_second_start_finds_what_the_first_has_made"),
    (13, include_str!("hostile/files.rs"), "what_is_no_file_of_the_directory_is_refused_without_waiting_for_it"),
    (13, include_str!("hostile/files.rs"), "a_file_that_is_written_all_the_time_is_never_active_but_as_a_whole"),
    (
        14,
        include_str!("hostile/files.rs"),
        "of_two_files_of_one_name_the_older_stays_and_the_newer_has_it_when_that_is_gone",
    ),
    (24, include_str!("hostile/harmless.rs"), "what_is_no_json_never_gets_into_the_payload"),
    (24, include_str!("hostile/harmless.rs"), "json_that_hardly_anybody_writes_is_kept_to_the_letter_and_works_on"),
    (25, include_str!("hostile/harmless.rs"), "a_pointer_of_any_depth_costs_the_host_no_stack"),
    (26, include_str!("hostile/harmless.rs"), "no_guest_waits_in_the_host"),
    (
        28,
        include_str!("hostile/harmless.rs"),
        "asking_for_the_whole_payload_again_and_again_is_bounded_by_what_may_be_read",
    ),
    (29, include_str!("hostile/harmless.rs"), "a_flood_of_output_harms_nobody"),
    (
        36,
        include_str!("hostile/stopping.rs"),
        "a_host_stops_in_time_while_a_guest_loops_and_its_payloads_are_delivered_after_the_next_start",
    ),
];

#[test]
fn every_case_has_a_test() {
    for (case, file, test) in TESTS {
        assert!(file.contains(&format!("fn {test}(")), "case {case}: {test}");
    }
    let tests = TESTS.iter().map(|(case, ..)| *case);
    let tables =
        load::cases().into_iter().map(|case| case.number).chain(run::cases().into_iter().map(|case| case.number));
    let tested: BTreeSet<u8> = tests.chain(tables).filter(|case| *case != 0).collect();
    assert_eq!(tested, (1..=CASES).collect());
}
