//! Laws: what an SDK encodes is decoded to the same, and whatever comes, what is stored is valid.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Number};
use uuid::Uuid;

use super::*;
use crate::ingest::RefusedPart;

#[derive(Clone, Copy, Debug)]
enum Style {
    Python,
    Javascript,
    Bare,
}

/// A run of one layer, or a file.
#[derive(Clone, Debug)]
struct Sent {
    layer: &'static str,
    id: Uuid,
    main: Option<Map<String, Value>>,
    fields: Vec<(&'static str, Value)>,
    file: Option<Vec<u8>>,
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn mains() -> impl Strategy<Value = Map<String, Value>> {
    let tags = vec(any::<String>(), 0..4);
    (any::<String>(), tags, any::<Option<u32>>(), btree_map("x[a-z]{1,8}", values(), 0..4)).prop_map(
        |(name, tags, end, rest)| {
            let mut main: Map<String, Value> = rest.into_iter().collect();
            main.insert("name".to_owned(), name.into());
            main.insert("tags".to_owned(), tags.into());
            main.insert("start_time".to_owned(), "2026-11-23T20:37:01.283376+00:00".into());
            main.insert("end_time".to_owned(), end.into());
            main
        },
    )
}

fn sent() -> impl Strategy<Value = Sent> {
    let fields = select(&["inputs", "outputs", "events", "extra", "serialized"][..]);
    let fields = btree_map(fields, values(), 0..5).prop_map(|fields| fields.into_iter().collect());
    let id = any::<u128>().prop_map(Uuid::from_u128);
    let file = proptest::option::of(vec(any::<u8>(), 0..100));
    (select(&["post", "patch"][..]), id, proptest::option::of(mains()), fields, file)
        .prop_map(|(layer, id, main, fields, file)| Sent { layer, id, main, fields, file })
}

fn part_bytes(style: Style, name: &str, media_type: &str, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let kind = match style {
        Style::Python => format!("Content-Type: {media_type}\r\nContent-Length: {length}\r\n"),
        Style::Javascript => format!("Content-Type: {media_type}; length={length}\r\n"),
        Style::Bare => format!("Content-Type: {media_type}\r\n"),
    };
    let head = format!("{DELIMITER}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n{kind}\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

impl Sent {
    fn parts(&self, style: Style) -> Vec<Vec<u8>> {
        let Self { layer, id, .. } = self;
        let json = |name: String, value: String| part_bytes(style, &name, "application/json", value.as_bytes());
        let main = self.main.iter().map(|main| json(format!("{layer}.{id}"), Value::Object(main.clone()).to_string()));
        let fields = self.fields.iter().map(|(field, value)| json(format!("{layer}.{id}.{field}"), value.to_string()));
        let file = self.file.iter().map(|file| part_bytes(style, &format!("attachment.{id}.f"), "image/png", file));
        main.chain(fields).chain(file).collect()
    }

    /// The document that has to come out; none where nothing was said.
    fn document(&self) -> Option<Value> {
        let mut document = self.main.clone();
        for (field, value) in self.fields.iter().filter(|(_, value)| !value.is_null()) {
            document.get_or_insert_default().insert((*field).to_owned(), value.clone());
        }
        let mut document = document?;
        document.retain(|_, value| !value.is_null());
        Some(reread(&document.into()))
    }
}

/// As its text is read again: numbers may lose digits on the way, and that is no business of this test.
fn reread(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn cut_at<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn found(batch: &Batch) -> Vec<(String, Value)> {
    batch.runs.iter().map(|run| (run.id.to_string(), json(run))).collect()
}

proptest! {
    #[test]
    fn what_an_sdk_encodes_is_decoded_to_the_same(
        all in vec(sent(), 0..8),
        style in select(&[Style::Python, Style::Javascript, Style::Bare][..]),
        encoding in select(&[Encoding::Identity, Encoding::Gzip, Encoding::Zstd][..]),
        cuts in vec(any::<Index>(), 0..40),
    ) {
        let parts: Vec<_> = all.iter().flat_map(|sent| sent.parts(style)).collect();
        let body = [parts.concat(), format!("{DELIMITER}--\r\n").into_bytes()].concat();
        let batch = run(async {
            let packed = pack(&body, encoding).await;
            decode_chunks(CONTENT_TYPE, cut_at(&packed, &cuts), encoding, IngestLimits::default()).await
        });
        prop_assert_eq!((&batch.refused, &batch.broken_off), (&Vec::<RefusedPart>::new(), &None));
        let expected: Vec<_> =
            all.iter().filter_map(|sent| Some((sent.id.to_string(), sent.document()?))).collect();
        prop_assert_eq!(found(&batch), expected);
        let files: Vec<_> = batch.attachments.iter().map(|file| file.bytes.to_vec()).collect();
        prop_assert_eq!(files, all.iter().filter_map(|sent| sent.file.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn the_order_of_parts_changes_no_write(
        (parts, shuffled) in vec(sent(), 0..5).prop_map(|all| all.iter().flat_map(|sent| sent.parts(Style::Bare)).collect::<Vec<_>>())
            .prop_flat_map(|parts| (Just(parts.clone()), Just(parts).prop_shuffle())),
    ) {
        let decoded = |parts: &[Vec<u8>]| {
            let body = [parts.concat(), format!("{DELIMITER}--").into_bytes()].concat();
            let mut found = found(&run(decode(&body)));
            found.sort_by(|one, other| one.0.cmp(&other.0));
            found
        };
        prop_assert_eq!(decoded(&parts), decoded(&shuffled));
    }

    #[test]
    fn whatever_comes_what_is_taken_is_valid(
        changes in vec((any::<Index>(), any::<u8>(), 0..3_u8), 0..20),
    ) {
        let capture = include_bytes!("../../../../tests/captures/py-ver-03-POST-runs_multipart.txt");
        let mut body = capture[memchr::memmem::find(capture, b"\n\n").unwrap() + 2..].to_vec();
        for (at, byte, change) in changes {
            let at = at.index(body.len());
            match change {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => _ = body.remove(at),
            }
        }
        let content_type = "multipart/form-data; boundary=b4e2e2e50f864574a412fbac399a4d81";
        let batch = run(decode_chunks(content_type, [body.as_slice()], Encoding::Identity, IngestLimits::default()));
        for run in &batch.runs {
            let document = json(run);
            prop_assert!(document.as_object().unwrap().values().all(|value| !value.is_null()));
            prop_assert!(document.get("error").is_none_or(Value::is_string));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300), encoding in select(&[Encoding::Identity, Encoding::Gzip, Encoding::Zstd][..])) {
        run(decode_chunks("multipart/form-data; boundary=\"-\"", [bytes.as_slice()], encoding, IngestLimits::default()));
        _ = crate::ingest::batch(&bytes);
        _ = crate::ingest::feedback(bytes.into());
    }
}
