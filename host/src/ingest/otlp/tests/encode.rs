//! Protobuf messages for tests, written by field number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

pub(super) fn fixed64(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

pub(super) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

pub(super) fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}

/// An `AnyValue` that is a list of the given ones.
pub(super) fn list_value(values: &[&[u8]]) -> Vec<u8> {
    bytes(5, &values.iter().flat_map(|value| bytes(1, value)).collect::<Vec<_>>())
}

/// A `KeyValue` as a field.
pub(super) fn attribute(field: u64, key: &str, value: &[u8]) -> Vec<u8> {
    bytes(field, &[text(1, key), bytes(2, value)].concat())
}

/// A `Span` with the given fields besides.
pub(super) fn span(name: &str, fields: &[u8]) -> Vec<u8> {
    span_of(7, name, fields)
}

pub(super) fn span_of(span_id: u64, name: &str, fields: &[u8]) -> Vec<u8> {
    let ids = [bytes(1, &[1; 16]), bytes(2, &span_id.to_be_bytes())].concat();
    [ids, text(5, name), fixed64(7, 1_544_712_660_000_000_000), fields.to_vec()].concat()
}

/// An `ExportTraceServiceRequest` of spans.
pub(super) fn request(spans: &[Vec<u8>]) -> Vec<u8> {
    let spans: Vec<u8> = spans.iter().flat_map(|span| bytes(2, span)).collect();
    bytes(1, &bytes(2, &spans))
}

/// What OTLP/JSON says, in protobuf. Knows the fields that the tests use.
pub(super) fn of_json(request: &Json) -> Vec<u8> {
    each(&request["resourceSpans"], |resource_spans| {
        let resource = each(&resource_spans["resource"]["attributes"], |pair| bytes(1, &pair_of(pair)));
        let scopes = each(&resource_spans["scopeSpans"], |scope_spans| bytes(2, &scope_of(scope_spans)));
        bytes(1, &[bytes(1, &resource), scopes].concat())
    })
}

fn scope_of(scope_spans: &Json) -> Vec<u8> {
    let scope = &scope_spans["scope"];
    let attributes = each(&scope["attributes"], |pair| bytes(3, &pair_of(pair)));
    let scope = [text_of(1, &scope["name"]), text_of(2, &scope["version"]), attributes].concat();
    [bytes(1, &scope), each(&scope_spans["spans"], |span| bytes(2, &span_of_json(span)))].concat()
}

fn span_of_json(span: &Json) -> Vec<u8> {
    let hex = |field, key: &str| {
        let digits = span[key].as_str().unwrap();
        let bytes_of = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
        bytes(field, &bytes_of.collect::<Vec<_>>())
    };
    let status = [text_of(2, &span["status"]["message"]), number(3, span["status"]["code"].as_u64().unwrap())].concat();
    let event = |event: &Json| {
        let attributes = each(&event["attributes"], |pair| bytes(3, &pair_of(pair)));
        bytes(11, &[nanos(1, &event["timeUnixNano"]), text_of(2, &event["name"]), attributes].concat())
    };
    [
        [hex(1, "traceId"), hex(2, "spanId"), hex(4, "parentSpanId"), text_of(5, &span["name"])].concat(),
        [nanos(7, &span["startTimeUnixNano"]), nanos(8, &span["endTimeUnixNano"])].concat(),
        each(&span["attributes"], |pair| bytes(9, &pair_of(pair))),
        each(&span["events"], event),
        bytes(15, &status),
    ]
    .concat()
}

fn pair_of(pair: &Json) -> Vec<u8> {
    [text_of(1, &pair["key"]), bytes(2, &value_of(&pair["value"]))].concat()
}

fn value_of(value: &Json) -> Vec<u8> {
    let (kind, content) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "stringValue" => text_of(1, content),
        "boolValue" => number(2, content.as_bool().unwrap().into()),
        "intValue" => number(3, content.as_str().unwrap().parse::<i64>().unwrap().cast_unsigned()),
        "doubleValue" => fixed64(4, content.as_f64().unwrap().to_bits()),
        "arrayValue" => bytes(5, &each(&content["values"], |value| bytes(1, &value_of(value)))),
        "kvlistValue" => bytes(6, &each(&content["values"], |pair| bytes(1, &pair_of(pair)))),
        "bytesValue" => bytes(7, &STANDARD.decode(content.as_str().unwrap()).unwrap()),
        other => panic!("{other}"),
    }
}

fn each(list: &Json, encode: impl Fn(&Json) -> Vec<u8>) -> Vec<u8> {
    list.as_array().unwrap().iter().flat_map(encode).collect()
}

fn text_of(field: u64, value: &Json) -> Vec<u8> {
    text(field, value.as_str().unwrap())
}

fn nanos(field: u64, value: &Json) -> Vec<u8> {
    fixed64(field, value.as_str().unwrap().parse().unwrap())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
