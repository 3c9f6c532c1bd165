"""Log lines of a call that is traced name the trace."""

import logging

from opentelemetry import trace


def add_ids(record: logging.LogRecord) -> bool:
    """A filter of a handler, where it runs in the task that logs; it lets every record pass."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        record.trace_id = trace.format_trace_id(context.trace_id)
        record.span_id = trace.format_span_id(context.span_id)
    return True
