//! Messages between the host and its children, over a pipe: a JSON head of bounded size, then bytes of bounded number.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of any head: a configuration comes in it, and a rules document has 4 MiB at most, twice that once escaped; or the
/// links of a payload of 64 MiB. What a child says has bounds of its own.
pub(in crate::plugin) const HEAD_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Bytes of the head of a child that says that it is ready or done, or in some words why not.
pub(in crate::plugin) const WORDS_BYTES_MAX: u64 = 1024 * 1024;

/// A body of this size is written together with its head: a reader that is woken finds both.
const SMALL_BYTES: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Head<T> {
    said: T,
    body_bytes: u64,
}

/// Writes what is said, then the bytes.
///
/// # Errors
/// The pipe's, or that the head is too long.
pub(in crate::plugin) fn write<T: Serialize>(pipe: &mut impl Write, said: &T, body: &[u8]) -> io::Result<()> {
    let mut message = vec![0; 4];
    serde_json::to_writer(&mut message, &Head { said, body_bytes: body.len() as u64 })?;
    let bytes = u32::try_from(message.len() - 4).map_err(|_| too_long())?;
    if u64::from(bytes) > HEAD_BYTES_MAX {
        return Err(too_long());
    }
    message[..4].copy_from_slice(&bytes.to_le_bytes());
    let is_small = body.len() <= SMALL_BYTES;
    if is_small {
        message.extend_from_slice(body);
    }
    pipe.write_all(&message)?;
    if !is_small {
        pipe.write_all(body)?;
    }
    pipe.flush()
}

/// Reads what is said and its bytes.
///
/// # Errors
/// The pipe's, that it ends early, or that there is more than may be.
pub(in crate::plugin) fn read<T: DeserializeOwned>(
    pipe: &mut impl Read,
    head_bytes_max: u64,
    body_bytes_max: u64,
) -> io::Result<(T, Vec<u8>)> {
    let mut bytes = [0; 4];
    pipe.read_exact(&mut bytes)?;
    let bytes = u64::from(u32::from_le_bytes(bytes));
    if bytes > head_bytes_max {
        return Err(too_long());
    }
    let head: Head<T> = serde_json::from_slice(&exactly(pipe, bytes)?)?;
    if head.body_bytes > body_bytes_max {
        return Err(too_long());
    }
    Ok((head.said, exactly(pipe, head.body_bytes)?))
}

/// Memory is taken for what comes, not for what was announced.
fn exactly(pipe: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(bytes.min(SMALL_BYTES as u64) as usize);
    pipe.take(bytes).read_to_end(&mut read)?;
    if read.len() as u64 == bytes { Ok(read) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the message is too long")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_part_of_it_passes_for_the_whole(said: String, body: Vec<u8>, cut: prop::sample::Index) {
            let mut pipe = Vec::new();
            write(&mut pipe, &said, &body).unwrap();
            let whole: (String, Vec<u8>) = read(&mut pipe.as_slice(), HEAD_BYTES_MAX, body.len() as u64).unwrap();
            prop_assert_eq!(whole, (said, body));
            prop_assert!(read::<String>(&mut &pipe[..cut.index(pipe.len())], HEAD_BYTES_MAX, u64::MAX).is_err());
        }
    }

    #[test]
    fn more_than_may_be_is_refused() {
        let mut pipe = Vec::new();
        write(&mut pipe, &(), b"four").unwrap();
        let head = pipe.len() as u64 - 8;
        assert!(read::<()>(&mut pipe.as_slice(), head, 4).is_ok());
        assert!(read::<()>(&mut pipe.as_slice(), head, 3).is_err());
        assert!(read::<()>(&mut pipe.as_slice(), head - 1, 4).is_err());
    }
}
