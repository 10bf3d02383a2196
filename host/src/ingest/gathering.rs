//! Puts a body's parts together: the separate fields of a run into its write, in whatever order they come.

use std::collections::HashMap;

use bytes::Bytes;

use super::part::{MainFields, Part};
use super::run_fields::Field;
use super::{Batch, IngestError};
use crate::model::ids::RunId;
use crate::model::run::{Layer, RunWrite};

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    batch: Batch,
    drafts: Vec<Draft>,
    /// The last draft of each run and layer.
    last: HashMap<(Layer, RunId), usize>,
}

/// A write of which more may come.
#[derive(Debug)]
struct Draft {
    layer: Layer,
    id: RunId,
    /// None until the main part comes, which it need not.
    members: Option<Vec<u8>>,
    /// In the order of [`Field::ALL`].
    fields: [Option<Bytes>; Field::ALL.len()],
}

impl Gathering {
    pub(super) fn put(&mut self, part: Part) {
        match part {
            Part::Run { layer, id, fields } => self.put_run((layer, id), fields),
            Part::Field { layer, id, field, json } => self.put_field((layer, id), field, json),
            Part::Attachment(attachment) => self.batch.attachments.push(attachment),
            Part::Feedback(feedback) => self.batch.feedback.push(feedback),
            Part::Refused(refused) => self.batch.refused.push(refused),
        }
    }

    /// Null says nothing; of the same field twice the last that says something holds.
    fn put_field(&mut self, run: (Layer, RunId), field: Field, json: Option<Bytes>) {
        let Some(json) = json else { return };
        self.with_draft(run, |_| true, |draft| draft.put(field, |place| *place = Some(json)));
    }

    /// A field that comes apart is preferred to one within the main part, whichever is first.
    fn put_run(&mut self, run: (Layer, RunId), fields: MainFields) {
        let put = |draft: &mut Draft| {
            draft.members = Some(fields.members);
            for (field, json) in fields.inlined {
                draft.put(field, |place| _ = place.get_or_insert(json));
            }
        };
        self.with_draft(run, |draft| draft.members.is_none(), put);
    }

    /// Writes to the run's last draft if it fits, or to a fresh one: a main part that comes twice makes two writes.
    fn with_draft(&mut self, run: (Layer, RunId), fits: impl Fn(&Draft) -> bool, write: impl FnOnce(&mut Draft)) {
        let last = self.last.get(&run).and_then(|index| self.drafts.get_mut(*index));
        if let Some(draft) = last.filter(|draft| fits(draft)) {
            return write(draft);
        }
        let mut draft = Draft { layer: run.0, id: run.1, members: None, fields: Default::default() };
        write(&mut draft);
        self.last.insert(run, self.drafts.len());
        self.drafts.push(draft);
    }

    pub(super) fn finish(self, broken_off: Option<IngestError>) -> Batch {
        let runs = self.drafts.into_iter().map(Draft::finish).collect();
        Batch { runs, broken_off, ..self.batch }
    }
}

impl Draft {
    fn put(&mut self, field: Field, write: impl FnOnce(&mut Option<Bytes>)) {
        if let Some(place) = self.fields.get_mut(field as usize) {
            write(place);
        }
    }

    fn finish(self) -> RunWrite {
        RunWrite { id: self.id, layer: self.layer, document: self.document() }
    }

    fn document(&self) -> Bytes {
        let members = self.members.as_deref().unwrap_or_default();
        let fields =
            || Field::ALL.into_iter().zip(&self.fields).filter_map(|(field, json)| Some((field, json.as_ref()?)));
        let fields_bytes: usize = fields().map(|(field, json)| field.name().len() + json.len() + 4).sum();
        let mut document = Vec::with_capacity(members.len() + fields_bytes + 2);
        document.push(b'{');
        document.extend_from_slice(members);
        for (field, json) in fields() {
            document.extend_from_slice(if document.len() > 1 { b",\"" } else { b"\"" });
            document.extend_from_slice(field.name().as_bytes());
            document.extend_from_slice(b"\":");
            document.extend_from_slice(json);
        }
        document.push(b'}');
        document.into()
    }
}
