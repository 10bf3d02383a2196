//! Prints and logs megabytes with control characters, then keeps the run.

use runhook_sdk::prelude::*;

#[filter]
fn keep(_run: &Run) -> bool {
    let line = "\u{1b}[31m\u{7}\r\u{0}flood ".repeat(512);
    for _ in 0..256 {
        println!("{line}");
        eprintln!("{line}");
        info!("{line}");
    }
    true
}
