"""Exports one nested GenAI trace with the OpenTelemetry SDK and prints its trace id (32 hex digits).

The trace: a chain, in it a model call (usage, prompt, completion, one message event) and a tool that raises. Where to:
OTEL_EXPORTER_OTLP_ENDPOINT (base, /v1/traces is added) or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (as it is); headers such as
x-api-key and Langsmith-Project: OTEL_EXPORTER_OTLP_HEADERS. Leaves with status 1 where the export was not accepted.

Needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http.
"""

import json
import sys

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

RESOURCE = {"service.name": "shop-assistant", "service.version": "2.4.1", "deployment.environment.name": "test"}

MODEL_CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.max_tokens": 200,
    "gen_ai.request.stop_sequences": ("END",),
    "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
    "gen_ai.response.finish_reasons": ("tool_calls",),
    "gen_ai.usage.input_tokens": 41,
    "gen_ai.usage.output_tokens": 17,
    "gen_ai.usage.cache_read.input_tokens": 8,
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "You sell umbrellas.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "Do you have a red one? \u2602",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.tool_calls.0.id": "call_7",
    "gen_ai.completion.0.tool_calls.0.name": "stock",
    "gen_ai.completion.0.tool_calls.0.arguments": '{"colour":"red"}',
    "langsmith.metadata.customer": "c-77",
    "langsmith.span.tags": "shop, umbrella",
    "shop.shelf": 12,
}


class StockUnknown(Exception):
    """What the tool raises."""


def run(tracer) -> str:
    """Makes the spans; the trace id in hex."""
    with tracer.start_as_current_span("answer", record_exception=False, set_status_on_exception=False) as chain:
        chain.set_attribute("openinference.span.kind", "CHAIN")
        chain.set_attribute("input.value", json.dumps({"question": "Do you have a red one?"}))
        with tracer.start_as_current_span("chat gpt-4.1-mini", kind=SpanKind.CLIENT, attributes=MODEL_CALL) as call:
            call.add_event("new_token", {"token": "st"})
        try:
            with tracer.start_as_current_span("execute_tool stock") as tool:
                tool.set_attribute("gen_ai.operation.name", "execute_tool")
                tool.set_attribute("gen_ai.tool.name", "stock")
                tool.set_attribute("gen_ai.tool.call.arguments", '{"colour":"red"}')
                raise StockUnknown("no stock list for umbrellas")
        except StockUnknown:
            chain.set_attribute("output.value", "I cannot tell.")
        return format(chain.get_span_context().trace_id, "032x")


def send(exporter: SpanExporter) -> tuple[str, bool]:
    """Makes the trace, then exports it in one request."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create(RESOURCE))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace_id = run(provider.get_tracer("shop.assistant", "2.4.1"))
    is_sent = exporter.export(memory.get_finished_spans()) is SpanExportResult.SUCCESS
    exporter.shutdown()
    provider.shutdown()
    return trace_id, is_sent


if __name__ == "__main__":
    trace_id, is_sent = send(OTLPSpanExporter())
    print(trace_id)
    sys.exit(0 if is_sent else 1)
