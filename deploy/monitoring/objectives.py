"""What the service promises, and how fast a budget of failures may be used up before somebody is told.

Change the objectives here to those of your service, then run ``make monitoring``.
"""

from dataclasses import dataclass

from losswire.monitoring.expressions import Difference, Expression, Rate, Ratio
from losswire.monitoring.figures import FIGURES

_SECONDS = "grpc_server_handling_seconds"
_EVALUATE = {"grpc_method": ("Evaluate",)}
SLOW_SECONDS = 0.2  # a bound of the histogram's buckets
_FAST = {**_EVALUATE, "le": (f"{SLOW_SECONDS:g}",)}


@dataclass(frozen=True)
class Objective:
    """A promise about calls.

    Attributes:
        key: Its name in alerts.
        recorded: The recorded metric, without its window.
        bad: The part of the calls that break the promise.
        meaning: What breaking it is, in words.
        target: The part of the calls that must keep it.
    """

    key: str
    recorded: str
    bad: Expression
    meaning: str
    target: float

    @property
    def budget(self) -> float:
        """The part of the calls that may break the promise."""
        return round(1 - self.target, 9)


AVAILABILITY = Objective(
    "Availability",
    "job:grpc_server_handled:error_ratio_rate",
    FIGURES["error_ratio"].curves[0].expression,
    "failed by the server's fault or for lack of time",
    0.999,
)
LATENCY = Objective(
    "Latency",
    "job:grpc_server_handling_seconds:slow_ratio_rate",
    Ratio(
        Difference(Rate(f"{_SECONDS}_count", where=_EVALUATE), Rate(f"{_SECONDS}_bucket", where=_FAST)),
        Rate(f"{_SECONDS}_count", where=_EVALUATE),
    ),
    f"of Evaluate took longer than {SLOW_SECONDS:g} s",
    0.99,
)
OBJECTIVES = (AVAILABILITY, LATENCY)


@dataclass(frozen=True)
class Burn:
    """A speed at which a budget is used up, and who is told of it. 1 uses up that of 30 days in 30 days.

    Attributes:
        factor: The speed.
        long: The window that shows that it matters.
        short: The window that shows that it goes on.
        wait: How long it must last.
        severity: Whether somebody is woken, or finds a ticket.
    """

    factor: float
    long: str
    short: str
    wait: str
    severity: str


# Those of the chapter "Alerting on SLOs" of Google's SRE workbook, of which the first uses up 2 % of 30 days' budget.
BURNS = (
    Burn(14.4, "1h", "5m", "2m", "page"),
    Burn(6, "6h", "30m", "15m", "page"),
    Burn(3, "1d", "2h", "1h", "ticket"),
    Burn(1, "3d", "6h", "3h", "ticket"),
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
