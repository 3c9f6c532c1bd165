"""What operators see of the server, and how it stops."""

from typing import Literal

from pydantic import Field
from pydantic_settings import CliImplicitFlag

from losswire_server.settings.types import Group, Seconds, Whole


class Operation(Group):
    """What operators see of the server, and how it stops."""

    max_series: Whole = Field(100, ge=1, le=1_000_000)
    """The most names of series in the metrics; series past the limit are added up as `other`."""

    series_idle_seconds: Seconds = Field(3600.0, ge=0)
    """Forget a series that nobody evaluates for so long, so that its name makes room for another; 0 keeps all."""

    drain_seconds: Seconds = 0.0
    """On SIGTERM, keep serving this long while health checks already say NOT_SERVING, so that balancers notice."""

    grace_seconds: Seconds = 10.0
    """On SIGTERM, after draining, wait this long for calls under way before they are cancelled."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events to log."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """Log lines for people or for machines; `auto` writes for people if standard error is a terminal."""

    access_log_per_second: Whole = Field(10, ge=0, le=1_000_000)
    """The most calls that are logged in a second, at level info; calls past the limit are counted. 0 logs none."""

    tracing: CliImplicitFlag[bool] = False
    """Send traces and a metric of calls by OpenTelemetry, as OTEL_* variables say. Needs the extra `tracing`."""
