//! What a part's name says: `post.<id>.inputs` and its like.

use crate::model::ids::RunId;
use crate::model::run::Layer;
use uuid::Uuid;

use super::run_fields::Field;

/// Longest name of an attachment, in bytes.
const ATTACHMENT_NAME_BYTES_MAX: usize = 255;
/// How much of a client's own text is told back, in bytes.
const SHORTENED_BYTES_MAX: usize = 100;

/// A part's name, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartName {
    Run {
        layer: Layer,
        id: RunId,
    },
    Field {
        layer: Layer,
        id: RunId,
        field: Field,
    },
    Attachment {
        run: RunId,
        name: String,
    },
    /// The id behind `feedback.`: the feedback's as the SDKs send it, a run's as the API's reference has it.
    Feedback {
        id: Uuid,
    },
}

impl PartName {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let mut pieces = name.splitn(3, '.');
        let (kind, id, rest) = (pieces.next().unwrap_or_default(), pieces.next(), pieces.next());
        match kind {
            "post" => Self::of_run(Layer::Post, id, rest),
            "patch" => Self::of_run(Layer::Patch, id, rest),
            "attachment" => Ok(Self::Attachment { run: RunId(uuid(id)?), name: attachment_name(rest)? }),
            "feedback" if rest.is_none() => Ok(Self::Feedback { id: uuid(id)? }),
            _ => Err("parts are named `post.<run id>`, `patch.<run id>`, each also with `.inputs` and its like, \
                      `attachment.<run id>.<name>` or `feedback.<id>`"
                .to_owned()),
        }
    }

    fn of_run(layer: Layer, id: Option<&str>, field: Option<&str>) -> Result<Self, String> {
        let id = RunId(uuid(id)?);
        let Some(field) = field else { return Ok(Self::Run { layer, id }) };
        let field = Field::named(field).ok_or_else(|| {
            let known = Field::ALL.map(Field::name).join(", ");
            format!("`{}` is no field that comes as a part of its own; those are {known}", shortened(field))
        })?;
        Ok(Self::Field { layer, id, field })
    }
}

fn uuid(id: Option<&str>) -> Result<Uuid, String> {
    let id = id.unwrap_or_default();
    Uuid::try_parse(id).map_err(|_| format!("`{}` in the part's name has to be a UUID", shortened(id)))
}

fn attachment_name(name: Option<&str>) -> Result<String, String> {
    let name = name.unwrap_or_default();
    let is_valid = (1..=ATTACHMENT_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(['.', '\0', '\r', '\n']);
    if is_valid {
        return Ok(name.to_owned());
    }
    Err(format!("an attachment's name has 1 to {ATTACHMENT_NAME_BYTES_MAX} bytes, no dot and no line break"))
}

/// A client's own text, cut to what is told back.
pub(super) fn shortened(text: &str) -> String {
    let mut end = SHORTENED_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text.get(..end) {
        Some(start) if end < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a20a21-7cd8-7000-8000-02556ffdde73";

    #[test]
    fn names_of_the_sdks_are_read() {
        let id: RunId = ID.parse().unwrap();
        let run = PartName::Run { layer: Layer::Patch, id };
        assert_eq!(PartName::parse(&format!("patch.{ID}")), Ok(run));
        for field in Field::ALL {
            let read = PartName::parse(&format!("post.{ID}.{}", field.name()));
            assert_eq!(read, Ok(PartName::Field { layer: Layer::Post, id, field }));
        }
        let attachment = PartName::Attachment { run: id, name: "pic 1/ä".to_owned() };
        assert_eq!(PartName::parse(&format!("attachment.{ID}.pic 1/ä")), Ok(attachment));
        assert_eq!(PartName::parse(&format!("feedback.{ID}")), Ok(PartName::Feedback { id: id.0 }));
    }

    #[test]
    fn other_names_are_refused_with_what_is_wrong() {
        let cases = [
            (String::new(), "parts are named"),
            ("POST.x".to_owned(), "parts are named"),
            ("post".to_owned(), "UUID"),
            ("post.x.inputs".to_owned(), "`x`"),
            (format!("post.{ID}.tags"), "`tags` is no field"),
            (format!("post.{ID}."), "`` is no field"),
            (format!("post.{ID}.inputs.x"), "`inputs.x` is no field"),
            (format!("attachment.{ID}"), "attachment's name"),
            (format!("attachment.{ID}.a.png"), "attachment's name"),
            (format!("feedback.{ID}.x"), "parts are named"),
            (format!("post.{}", "ä".repeat(1000)), "ä…`"),
        ];
        for (name, expected) in cases {
            let refusal = PartName::parse(&name).unwrap_err();
            assert!(refusal.contains(expected), "{name}: {refusal}");
            assert!(refusal.len() < 400, "{refusal}");
        }
    }
}
