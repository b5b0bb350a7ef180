"""Outcomes as OpenTelemetry spans, exported over OTLP/HTTP. Needs the extra ``otel``."""

import atexit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.observe.outcomes import PHASES, Outcome

SERVICE = "inference-gateway"
"""Name of the service where neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES sets one."""
SECOND = 1_000_000_000
"""Nanoseconds."""


class Spans:
    """Traces of one process; ``trace`` is a Sink.

    The tracer records spans that have ended, with their times. A thread of the batch processor exports them and drops
    what exceeds its queue, so no request waits for a collector.
    """

    def __init__(self) -> None:
        name = OTELResourceDetector().detect().attributes.get(SERVICE_NAME, SERVICE)
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gateway")
        self._propagator = TraceContextTextMapPropagator()
        atexit.register(self.close)

    def trace(self, outcome: Outcome) -> None:
        """Record one request, below the span of the caller where its ``traceparent`` is valid."""
        start = int(outcome.received.timestamp() * SECOND)
        span = self._tracer.start_span(
            f"POST {outcome.route}",
            context=self._propagator.extract({"traceparent": outcome.traceparent}),
            kind=SpanKind.SERVER,
            attributes=_attributes(outcome),
            start_time=start,
        )
        if not span.is_recording():
            return
        self._trace_phases(outcome, set_span_in_context(span), start)
        if outcome.status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(start + int(outcome.seconds * SECOND))

    def _trace_phases(self, outcome: Outcome, context: Context, start: int) -> None:
        """Record the phases one after the other, in the order of PHASES."""
        for phase in PHASES:
            if phase in outcome.phases:
                end = start + int(max(0.0, outcome.phases[phase]) * SECOND)
                self._tracer.start_span(phase, context=context, start_time=start).end(end)
                start = end

    def close(self) -> None:
        """Export what is queued, within OTEL_EXPORTER_OTLP_TIMEOUT, and end the thread."""
        atexit.unregister(self.close)
        self._provider.shutdown()


def _attributes(outcome: Outcome) -> dict[str, str | int]:
    """Return the known attributes, with the names of OpenTelemetry's semantic conventions for HTTP where they exist."""
    attributes: dict[str, str | int] = {
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
    return {name: value for name, value in attributes.items() if value != ""}
