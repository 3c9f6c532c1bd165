"""The traces of this process, if the settings ask for them. Imports nothing that takes long unless they do."""

from collections.abc import Iterator
from contextlib import contextmanager

from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError

MISSING = "tracing: expected OpenTelemetry to be installed: in a clone of Losswire, pip install './server[tracing]'"


@contextmanager
def exporting(settings: Settings, place: int | None = None) -> Iterator[None]:
    """Sends the traces and metrics of this process where the ``OTEL_*`` variables say, if the settings ask for it.

    Args:
        settings: Those of the server.
        place: The process's number among those that are a server together; None if it is one alone.

    Raises:
        WrongSettingsError: OpenTelemetry is not installed, or cannot use the variables.
    """
    if not settings.tracing:
        yield
        return
    try:
        from losswire_server.tracing.export import exporting as exporting_by_variables
    except ImportError as error:
        raise WrongSettingsError(MISSING) from error
    with exporting_by_variables(place):
        yield
