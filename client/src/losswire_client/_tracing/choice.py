"""What traces calls with the version of OpenTelemetry that the program uses. Imports OpenTelemetry."""

import logging
from typing import TYPE_CHECKING

from losswire_client._install import missing

if TYPE_CHECKING:
    from losswire_client._tracing.spans import Spans

log = logging.getLogger("losswire_client")


def _spans() -> "Spans | None":
    try:
        from losswire_client._tracing.spans import Spans

        return Spans()
    except (ImportError, TypeError) as error:  # an old version lacks a module, a name, or an argument
        told = missing(f"this version of OpenTelemetry is too old ({error})", "tracing")
        log.warning("calls are not traced: %s", told)
        return None


SPANS = _spans()
