//! Reads a file and opens a socket, which no plugin may.

use std::io::Write;

use runhook_sdk::prelude::*;

#[filter]
fn keep(_run: &Run) -> Result<bool> {
    let secret = std::fs::read_to_string("/etc/passwd")?;
    std::net::TcpStream::connect("127.0.0.1:80")?.write_all(secret.as_bytes())?;
    Ok(true)
}
