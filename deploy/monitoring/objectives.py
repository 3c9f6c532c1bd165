"""What the service promises, and how fast a budget of failures may be used up before somebody is told.

Change the objectives here to those of your service, then run ``make monitoring``.
"""

from dataclasses import dataclass

from losswire.monitoring.expressions import Difference, Rate, Ratio
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
        bad: The recorded metric of the calls that break the promise.
        total: That of all calls.
        recorded: That of the one by the other, without its window.
        ratio: The one by the other.
        of: Which calls, if not all.
        meaning: What breaking it is, in words.
        target: The part of the calls that must keep it.
    """

    key: str
    bad: str
    total: str
    recorded: str
    ratio: Ratio
    of: str
    meaning: str
    target: float

    @property
    def calls(self) -> str:
        """Its calls, in words."""
        return f"calls {self.of}".rstrip()

    @property
    def budget(self) -> float:
        """The part of the calls that may break the promise."""
        return round(1 - self.target, 9)


def ratio_of(figure: str) -> Ratio:
    """The expression of a figure that is one thing divided by another."""
    (curve,) = FIGURES[figure].curves
    if not isinstance(curve.expression, Ratio):
        raise TypeError(f"{figure} is no ratio")
    return curve.expression


AVAILABILITY = Objective(
    "Availability",
    "job:grpc_server_handled_failed:rate5m",
    "job:grpc_server_handled:rate5m",
    "job:grpc_server_handled:error_ratio_rate",
    ratio_of("error_ratio"),
    "",
    "failed by the server's fault or for lack of time",
    0.999,
)
LATENCY = Objective(
    "Latency",
    "job:grpc_server_handling_seconds_slow:rate5m",
    "job:grpc_server_handling_seconds_count:rate5m",
    "job:grpc_server_handling_seconds:slow_ratio_rate",
    Ratio(
        Difference(Rate(f"{_SECONDS}_count", where=_EVALUATE), Rate(f"{_SECONDS}_bucket", where=_FAST)),
        Rate(f"{_SECONDS}_count", where=_EVALUATE),
    ),
    "of Evaluate",
    f"took longer than {SLOW_SECONDS:g} s",
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
        least: How many calls of the long window must have broken the promise. One of few calls wakes nobody.
    """

    factor: float
    long: str
    short: str
    wait: str
    severity: str
    least: int = 0


LEAST_TO_WAKE = 10  # calls
# Those of the chapter "Alerting on SLOs" of Google's SRE workbook, of which the first uses up 2 % of 30 days' budget.
BURNS = (
    Burn(14.4, "1h", "5m", "2m", "page", LEAST_TO_WAKE),
    Burn(6, "6h", "30m", "15m", "page", LEAST_TO_WAKE),
    Burn(3, "1d", "2h", "1h", "ticket"),
    Burn(1, "3d", "6h", "3h", "ticket"),
)
WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")  # beside five minutes
