//! The run type.

use super::attributes::Attributes;

const RUN_TYPES: [&str; 7] = ["llm", "chain", "tool", "retriever", "embedding", "prompt", "parser"];

/// What a run is, `chain` where nothing says it. The first that is known holds:
///
/// 1. `langsmith.span.kind`, one of LangSmith's run types in any case; taken.
/// 2. `gen_ai.tool.name`: a tool.
/// 3. `gen_ai.operation.name`.
/// 4. `llm.request.type`, `traceloop.llm.request.type`: an embedding or a model call.
/// 5. `openinference.span.kind`.
/// 6. `traceloop.span.kind`.
/// 7. `llm.prompt_template.variables`: a prompt. Model calls have it too, so it comes after what names a kind.
/// 8. `retrieval.documents.*`: a retriever.
pub(super) fn run_type(attributes: &mut Attributes<'_>) -> &'static str {
    let own = attributes.text("langsmith.span.kind").and_then(own_type);
    if own.is_some() {
        attributes.take("langsmith.span.kind");
    }
    let by = |key: &str, of: fn(&str) -> Option<&'static str>| attributes.text(key).and_then(of);
    own.or_else(|| attributes.has("gen_ai.tool.name").then_some("tool"))
        .or_else(|| by("gen_ai.operation.name", of_operation))
        .or_else(|| by("llm.request.type", of_request))
        .or_else(|| by("traceloop.llm.request.type", of_request))
        .or_else(|| by("openinference.span.kind", of_kind))
        .or_else(|| by("traceloop.span.kind", of_kind))
        .or_else(|| attributes.has("llm.prompt_template.variables").then_some("prompt"))
        .or_else(|| attributes.has_family("retrieval.documents.").then_some("retriever"))
        .unwrap_or("chain")
}

fn own_type(kind: &str) -> Option<&'static str> {
    RUN_TYPES.into_iter().find(|run_type| run_type.eq_ignore_ascii_case(kind))
}

/// GenAI's operations, and `completion` and `embedding` as older instrumentations say.
fn of_operation(name: &str) -> Option<&'static str> {
    match name.to_ascii_lowercase().as_str() {
        "chat" | "completion" | "text_completion" | "generate_content" => Some("llm"),
        "embedding" | "embeddings" => Some("embedding"),
        "execute_tool" => Some("tool"),
        "retrieval" | "search_memory" => Some("retriever"),
        "create_agent" | "invoke_agent" | "invoke_workflow" | "plan" => Some("chain"),
        _ => None,
    }
}

fn of_request(name: &str) -> Option<&'static str> {
    Some(if name.eq_ignore_ascii_case("embedding") { "embedding" } else { "llm" })
}

/// OpenInference's and OpenLLMetry's kinds of spans.
fn of_kind(kind: &str) -> Option<&'static str> {
    match kind.to_ascii_lowercase().as_str() {
        "llm" => Some("llm"),
        "tool" => Some("tool"),
        "retriever" | "reranker" => Some("retriever"),
        "embedding" => Some("embedding"),
        "prompt" => Some("prompt"),
        "chain" | "workflow" | "task" | "agent" | "guardrail" | "evaluator" => Some("chain"),
        _ => None,
    }
}
