//! Runs as plain JSON: `POST /runs/batch`, `POST /runs`, `PATCH /runs/{id}`.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::name::shortened;
use super::object::{self, to_object};
use super::{Batch, IngestError, RefusedPart, json, run_fields};
use crate::limits;
use crate::model::ids::RunId;
use crate::model::run::{Layer, RunWrite};

/// Decodes `{"post":[run,…],"patch":[run,…]}`. Takes some 2 ms per MB, so a large one belongs on a thread that may block.
///
/// # Errors
/// Where the document is no such object, or has too many runs. Unlike a multipart body it has no parts that are complete
/// without the rest.
pub fn batch(document: &[u8]) -> Result<Batch, IngestError> {
    let arrays = object::entries(document, usize::MAX).map_err(IngestError::Document)?;
    let (mut batch, mut count) = (Batch::default(), 0);
    for entry in &arrays {
        match layer_named(&entry.key) {
            Some(layer) => put_all(&mut batch, layer, &entry.json, &mut count)?,
            None => batch.refuse(shortened(&entry.key), "a batch has `post` and `patch`".to_owned()),
        }
    }
    Ok(batch)
}

fn layer_named(key: &str) -> Option<Layer> {
    match key {
        "post" => Some(Layer::Post),
        "patch" => Some(Layer::Patch),
        _ => None,
    }
}

fn name_of(layer: Layer) -> &'static str {
    match layer {
        Layer::Post => "post",
        Layer::Patch => "patch",
    }
}

fn put_all(batch: &mut Batch, layer: Layer, array: &str, count: &mut usize) -> Result<(), IngestError> {
    let mut index = 0;
    let read = json::each(array, |run: &RawValue| {
        // Stops here; the error's text is not used.
        if *count == limits::INGEST_PARTS_MAX {
            return Err(String::new());
        }
        match write(layer, None, run.get().as_bytes()) {
            Ok(run) => batch.runs.push(run),
            Err(reason) => batch.refuse(format!("{}[{index}]", name_of(layer)), reason),
        }
        (index, *count) = (index + 1, *count + 1);
        Ok(())
    });
    match read {
        Err(_) if array.starts_with('[') => Err(IngestError::TooManyParts(limits::INGEST_PARTS_MAX)),
        Err(_) => {
            batch.refuse(name_of(layer).to_owned(), "it has to be an array of runs".to_owned());
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Decodes one run: the body of `POST /runs`, or of `PATCH /runs/{id}` with the id of its path.
///
/// # Errors
/// What is wrong with the run.
pub fn single(layer: Layer, id_in_path: Option<RunId>, document: Bytes) -> Result<Batch, IngestError> {
    let run = write(layer, id_in_path, &document).map_err(IngestError::Document)?;
    Ok(Batch { runs: vec![run], ..Batch::default() })
}

fn write(layer: Layer, id: Option<RunId>, text: &[u8]) -> Result<RunWrite, String> {
    let run = run_fields::read(text, id)?;
    Ok(RunWrite { id: run.id, layer, document: to_object(&run.entries, text.len()).into() })
}

impl Batch {
    fn refuse(&mut self, name: String, reason: String) {
        self.refused.push(RefusedPart { name, reason });
    }
}
