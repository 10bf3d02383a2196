//! The `output` interface: the body that a render stage fills.

use http::{HeaderName, HeaderValue};
use wasmtime::component::Resource;

use crate::model::endpoint::HOST_HEADERS;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::bindings::{BodyHandle, output};

type Body = Resource<BodyHandle>;
type Answer = wasmtime::Result<Result<(), String>>;

/// Headers that a render stage may add.
const HEADERS_MAX: usize = 32;

/// Bytes of a content type, of a header's name and of its value: what receivers take of a line.
const HEADER_BYTES_MAX: usize = 8 * 1024;

impl output::Host for Sandbox {}

impl output::HostBody for Sandbox {
    fn set_content_type(&mut self, _: Body, value: String) -> Answer {
        self.usage.call()?;
        self.usage.take_in(value.len())?;
        if value.len() > HEADER_BYTES_MAX {
            return Ok(Err(too_long("the content type")));
        }
        if HeaderValue::try_from(&value).is_err() {
            return Ok(Err("the content type has characters that a header cannot have".to_owned()));
        }
        self.body.content_type = value;
        Ok(Ok(()))
    }

    fn set_header(&mut self, _: Body, name: String, value: String) -> Answer {
        self.usage.call()?;
        self.usage.take_in(name.len() + value.len())?;
        if name.len() > HEADER_BYTES_MAX {
            return Ok(Err(too_long("the name of a header")));
        }
        let Ok(parsed) = HeaderName::try_from(&name) else {
            return Ok(Err(format!("{name:?} cannot be the name of a header")));
        };
        if HOST_HEADERS.contains(&parsed.as_str()) {
            return Ok(Err(format!("the header `{parsed}` belongs to the host")));
        }
        if value.len() > HEADER_BYTES_MAX {
            return Ok(Err(too_long(&format!("the value of `{parsed}`"))));
        }
        if HeaderValue::try_from(&value).is_err() {
            return Ok(Err(format!("the value of `{parsed}` has characters that a header cannot have")));
        }
        self.body.headers.retain(|(other, _)| other != parsed.as_str());
        if self.body.headers.len() == HEADERS_MAX {
            return Ok(Err(format!("a body has at most {HEADERS_MAX} headers")));
        }
        self.body.headers.push((parsed.as_str().to_owned(), value));
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

/// Says what is too long, never what it is: a header's value may be a secret.
fn too_long(what: &str) -> String {
    format!("{what} is longer than {} KiB", HEADER_BYTES_MAX / 1024)
}
