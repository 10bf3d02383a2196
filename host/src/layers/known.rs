//! The top-level fields that mean something to runhook, as raw JSON. Knows their names, not their sense.

use crate::document::{Fields, Syntax};

/// Makes a struct of raw values whose fields are the JSON keys.
macro_rules! known {
    ($(#[$doc:meta])* $name:ident { $($field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct $name<'a> {
            $(pub(super) $field: Option<&'a str>,)*
        }

        impl<'a> $name<'a> {
            /// Reads the object to its end. Null counts as absent.
            pub(super) fn read(text: &'a str) -> Result<Self, Syntax> {
                let mut known = Self::default();
                let mut fields = Fields::of_object(text)?;
                while let Some(field) = fields.read()? {
                    if field.value == "null" {
                        continue;
                    }
                    match &*field.key {
                        $(stringify!($field) => known.$field = Some(field.value),)*
                        _ => {}
                    }
                }
                Ok(known)
            }

            /// Its own fields, and those of another where it has none.
            #[allow(dead_code, reason = "not every kind of document comes in layers")]
            pub(super) fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }
        }
    };
}

known! {
    /// Of a run (LangSmith OpenAPI `RunSchema` and what the SDKs send beyond it).
    RunFields {
        trace_id, parent_run_id, dotted_order, session_id, session_name, name, run_type, start_time, end_time, status,
        error, inputs, outputs, extra, events, serialized, tags, reference_example_id, first_token_time, prompt_tokens,
        completion_tokens, total_tokens, prompt_cost, completion_cost, total_cost,
    }
}

known! {
    /// Of feedback.
    FeedbackFields { run_id, key, score, value, comment, correction, feedback_source, created_at, modified_at }
}
