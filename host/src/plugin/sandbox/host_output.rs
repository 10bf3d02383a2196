//! The `output` interface: the body that a render stage fills.

use http::{HeaderName, HeaderValue};
use wasmtime::component::Resource;

use crate::model::endpoint::HOST_HEADERS;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::bindings::{BodyHandle, output};

type Body = Resource<BodyHandle>;
type Answer = wasmtime::Result<Result<(), String>>;

/// Headers that a render stage may add.
pub(in crate::plugin) const HEADERS_MAX: usize = 32;

/// Bytes of a content type, of a header's name and of its value: what receivers take of a line.
pub(in crate::plugin) const HEADER_BYTES_MAX: usize = 8 * 1024;

impl output::Host for Sandbox {}

impl output::HostBody for Sandbox {
    fn set_content_type(&mut self, _: Body, value: String) -> Answer {
        self.usage.call()?;
        self.usage.take_in(value.len())?;
        if let Err(refused) = check_content_type(&value) {
            return Ok(Err(refused));
        }
        self.body.content_type = value;
        Ok(Ok(()))
    }

    fn set_header(&mut self, _: Body, name: String, value: String) -> Answer {
        self.usage.call()?;
        self.usage.take_in(name.len() + value.len())?;
        let others = self.body.headers.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(&name)).count();
        let name = match check_header(&name, &value, others) {
            Ok(name) => name,
            Err(refused) => return Ok(Err(refused)),
        };
        self.body.headers.retain(|(other, _)| other != name.as_str());
        self.body.headers.push((name.as_str().to_owned(), value));
        Ok(Ok(()))
    }

    fn write(&mut self, _: Body, bytes: Vec<u8>) -> Answer {
        self.usage.call()?;
        self.usage.take_in(bytes.len())?;
        self.written.extend_from_slice(&bytes);
        Ok(Ok(()))
    }

    fn drop(&mut self, _: Body) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// Whether a plugin may give a body this content type.
///
/// # Errors
/// In words, why not.
pub(in crate::plugin) fn check_content_type(value: &str) -> Result<(), String> {
    if value.len() > HEADER_BYTES_MAX {
        return Err(too_long("the content type"));
    }
    let refused = |_| "the content type has characters that a header cannot have".to_owned();
    HeaderValue::try_from(value).map(drop).map_err(refused)
}

/// Whether a plugin may add this header to so many others.
///
/// # Errors
/// In words, why not.
pub(in crate::plugin) fn check_header(name: &str, value: &str, others: usize) -> Result<HeaderName, String> {
    if name.len() > HEADER_BYTES_MAX {
        return Err(too_long("the name of a header"));
    }
    let parsed = HeaderName::try_from(name).map_err(|_| format!("{name:?} cannot be the name of a header"))?;
    if HOST_HEADERS.contains(&parsed.as_str()) {
        return Err(format!("the header `{parsed}` belongs to the host"));
    }
    if value.len() > HEADER_BYTES_MAX {
        return Err(too_long(&format!("the value of `{parsed}`")));
    }
    if HeaderValue::try_from(value).is_err() {
        return Err(format!("the value of `{parsed}` has characters that a header cannot have"));
    }
    if others >= HEADERS_MAX {
        return Err(format!("a body has at most {HEADERS_MAX} headers"));
    }
    Ok(parsed)
}

/// Says what is too long, never what it is: a header's value may be a secret.
fn too_long(what: &str) -> String {
    format!("{what} is longer than {} KiB", HEADER_BYTES_MAX / 1024)
}
