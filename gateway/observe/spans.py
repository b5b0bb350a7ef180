"""Outcomes as spans, on their way to a collector over OTLP/HTTP. Needs the extra ``otel``."""

import atexit
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.observe.outcomes import PHASES, Outcome

SERVICE = "inference-gateway"
"""The service's name where neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES tells one."""
SCOPE = InstrumentationScope("gateway")
FINE, FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SECOND = 1_000_000_000
"""Nanoseconds."""


class _Told:
    """An outcome in the queue of spans, which takes whatever has a context that is sampled."""

    __slots__ = ("outcome",)
    context = SpanContext(1, 1, False, SAMPLED)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Spans(SpanExporter):
    """The traces of one process; ``trace`` is a Sink.

    A thread makes spans of outcomes and sends them in batches, and what its queue does not hold is dropped, so that no
    request waits for a collector or pays for more than a place in the queue. Spans are built as they are read and not
    by a tracer: a request that is over has nothing to start, and it costs a fifth.
    """

    def __init__(self) -> None:
        name = OTELResourceDetector().detect().attributes.get(SERVICE_NAME, SERVICE)
        # for its sampler and its resource, which it takes from the environment
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
        self._span = partial(ReadableSpan, resource=self._provider.resource, instrumentation_scope=SCOPE)
        self._exporter = OTLPSpanExporter()
        self._queue = BatchSpanProcessor(self)
        self._context = TraceContextTextMapPropagator()
        atexit.register(self.close)

    def trace(self, outcome: Outcome) -> None:
        """Queue one request."""
        told: Any = _Told(outcome)
        self._queue.on_end(told)

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """The queue's thread: send what it holds."""
        return self._exporter.export([span for told in spans for span in self._spans(told.outcome)])

    def shutdown(self) -> None:
        """The queue is empty, and its thread ends."""
        self._exporter.shutdown()

    def _spans(self, outcome: Outcome) -> Iterator[ReadableSpan]:
        """The spans of one request, below the caller's span where its ``traceparent`` is a valid one."""
        context = self._context.extract({"traceparent": outcome.traceparent})
        caller = get_current_span(context).get_span_context()
        trace_id = caller.trace_id if caller.is_valid else self._provider.id_generator.generate_trace_id()
        name, attributes = f"POST {outcome.route}", _attributes(outcome)
        sampling = self._provider.sampler.should_sample(context, trace_id, name, SpanKind.SERVER, attributes)
        if sampling.decision is not Decision.RECORD_AND_SAMPLE:
            return
        server, start = self._new(trace_id), int(outcome.received.timestamp() * SECOND)
        yield from self._phases(outcome, server, start)
        yield self._span(
            name,
            context=server,
            parent=caller if caller.is_valid else None,
            kind=SpanKind.SERVER,
            attributes=attributes,
            status=FAILED if outcome.status >= 500 else FINE,
            start_time=start,
            end_time=start + int(outcome.seconds * SECOND),
        )

    def _phases(self, outcome: Outcome, server: SpanContext, start: int) -> Iterator[ReadableSpan]:
        """The phases one after the other, as PHASES orders them."""
        for phase in PHASES:
            if phase in outcome.phases:
                end = start + int(max(0.0, outcome.phases[phase]) * SECOND)
                yield self._span(
                    phase, context=self._new(server.trace_id), parent=server, start_time=start, end_time=end
                )
                start = end

    def _new(self, trace_id: int) -> SpanContext:
        return SpanContext(trace_id, self._provider.id_generator.generate_span_id(), False, SAMPLED)

    def close(self) -> None:
        """Send what is queued, as long as OTEL_EXPORTER_OTLP_TIMEOUT allows, and end the thread."""
        atexit.unregister(self.close)
        self._queue.shutdown()


def _attributes(outcome: Outcome) -> dict[str, str | int]:
    """What is known, by the names of OpenTelemetry's semantic conventions for HTTP where those have one."""
    found: dict[str, str | int] = {
        "http.request.method": "POST",
        "http.route": outcome.route,
        "http.response.status_code": outcome.status,
        "http.request.body.size": outcome.bytes_in,
        "http.response.body.size": outcome.bytes_out,
        "error.type": outcome.reason,
        "gateway.request_id": outcome.request_id,
        "gateway.input_digest": outcome.input_digest,
        "gateway.output_digest": outcome.output_digest,
        "gateway.model.name": outcome.model_name,
        "gateway.model.version": outcome.model_version,
        "gateway.batch_size": outcome.batch_size,
    }
    return {name: value for name, value in found.items() if value != ""}
