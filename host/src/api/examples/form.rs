//! Examples as a multipart form: a part `<id>` with what is small, `<id>.inputs` and `<id>.outputs` beside it. Python sends
//! neither length nor file name, JavaScript a file name; neither matters.

use std::collections::HashMap;

use bytes::Bytes;
use bytestring::ByteString;
use http::StatusCode;

use super::given::GivenExample;
use crate::api::answer::ApiError;
use crate::api::body::{object, read as read_json, refuse, utf8};
use crate::ingest::{self, FormPart, IngestError};
use crate::limits;
use crate::model::ids::ExampleId;

/// What has come of one example.
#[derive(Default)]
struct Gathered {
    main: Option<GivenExample>,
    inputs: Option<ByteString>,
    outputs: Option<ByteString>,
}

/// The examples of a form, in the order in which they are first named; each with its id.
pub(super) fn read(content_type: &str, form: &Bytes) -> Result<Vec<(ExampleId, GivenExample)>, ApiError> {
    let mut order = Vec::new();
    let mut gathered: HashMap<ExampleId, Gathered> = HashMap::new();
    for part in ingest::form(content_type, form, limits::INGEST_PARTS_MAX).map_err(refused)? {
        let (id, field) = named(&part.name)?;
        let gathered = gathered.entry(id).or_insert_with(|| {
            order.push(id);
            Gathered::default()
        });
        gathered.put(field, &part)?;
    }
    let whole = |id| (id, gathered.remove(&id).unwrap_or_default().into_example());
    Ok(order.into_iter().map(whole).collect())
}

impl Gathered {
    fn put(&mut self, field: &str, part: &FormPart) -> Result<(), ApiError> {
        let at = part.name.as_str();
        let text = || utf8(part.content.clone(), at);
        let json = || object(Some(read_json(&text()?, at)?), at);
        let is_second = match field {
            "" => self.main.replace(GivenExample::read(&text()?, at)?).is_some(),
            "inputs" => std::mem::replace(&mut self.inputs, json()?).is_some(),
            "outputs" => std::mem::replace(&mut self.outputs, json()?).is_some(),
            "attachments_operations" => {
                refuse(Some(&read_json(&text()?, at)?), at)?;
                false
            }
            _ if field.starts_with("attachment.") => {
                return Err(ApiError::unprocessable(at, "files of examples are not kept here; leave it out"));
            }
            _ => return Err(ApiError::unprocessable(at, "is no part of an example; those are inputs and outputs")),
        };
        if is_second { Err(ApiError::unprocessable(at, "comes twice")) } else { Ok(()) }
    }

    fn into_example(self) -> GivenExample {
        self.main.unwrap_or_default().with(self.inputs, self.outputs)
    }
}

/// Id and field of a part's name; the field of the main part is empty.
fn named(name: &str) -> Result<(ExampleId, &str), ApiError> {
    let (id, field) = name.split_once('.').unwrap_or((name, ""));
    let wrong = |_| ApiError::unprocessable(name, "has to begin with the example's id, a UUID");
    Ok((id.parse().map_err(wrong)?, field))
}

fn refused(error: IngestError) -> ApiError {
    let status = match error {
        IngestError::NotMultipart(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        IngestError::TooManyParts(_) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::dataset::Example;
    use crate::model::ids::DatasetId;

    const A: &str = "01a20a21-7cd8-7000-8000-02556ffdde73";
    const B: &str = "01a20a21-7cd8-7000-8000-02556ffdde74";

    fn form(parts: &[(&str, &str)]) -> Result<Vec<(ExampleId, GivenExample)>, ApiError> {
        let mut body = String::new();
        for (name, content) in parts {
            body += &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n");
        }
        read("multipart/form-data; boundary=b", &Bytes::from(body + "--b--\r\n"))
    }

    fn example(given: GivenExample) -> Example {
        given.into_example(Some(DatasetId::generate()), Timestamp::UNIX_EPOCH).unwrap()
    }

    fn part(id: &str, field: &str) -> String {
        format!("{id}{field}")
    }

    #[test]
    fn parts_of_an_example_meet_in_any_order() {
        let names = [part(A, ".inputs"), part(B, ""), part(A, ""), part(A, ".outputs")];
        let contents = [r#"{"q": 1.0}"#, r#"{"inputs":{"q":2}}"#, r#"{"split":"x"}"#, "null"];
        let parts: Vec<_> = names.iter().map(String::as_str).zip(contents).collect();
        let read = form(&parts).unwrap();
        assert_eq!(read.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), [A, B]);
        let examples: Vec<_> = read.into_iter().map(|(_, given)| example(given)).collect();
        assert_eq!(
            examples.iter().map(|example| &*example.inputs).collect::<Vec<_>>(),
            [r#"{"q": 1.0}"#, r#"{"q":2}"#]
        );
        assert_eq!((&examples[0].outputs, &examples[0].splits[..]), (&None, &["x".to_owned()][..]));
    }

    #[test]
    fn what_makes_no_examples_is_refused_by_its_name() {
        let wrong = [
            ("x", "{}", "UUID"),
            (&part(A, ".inputs"), "[]", ".inputs"),
            (&part(A, ".metadata"), "{}", ".metadata"),
            (&part(A, ".attachment.map"), "png", ".attachment.map"),
            (&part(A, ".attachments_operations"), r#"{"retain":["map"]}"#, "attachments_operations"),
            (&part(A, ""), "{", A),
        ];
        for (name, content, expected) in wrong {
            let error = form(&[(name, content)]).unwrap_err();
            assert!(error.detail().contains(expected), "{name}: {}", error.detail());
        }
        assert!(form(&[(A, "{}"), (A, "{}")]).is_err());
        assert!(form(&[(A, "{}"), (&part(A, ".attachments_operations"), "{}")]).is_ok());
    }
}
