"""What the table of metrics says of each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]
Values = tuple[str, ...] | None  # of a label; None for names that callers choose, whose number is bounded


@dataclass(frozen=True)
class Metric:
    """A metric of the server.

    Attributes:
        name: As Prometheus shows it; that of a histogram is without ``_bucket``, ``_sum`` and ``_count``.
        kind: Of Prometheus.
        unit: Of its values.
        meaning: One or two sentences.
        labels: Their names, and all values that each can have.
        buckets: Upper bounds of a histogram, without infinity.
        only: Where the metric is to be found, if not at every server.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: Mapping[str, Values] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    only: str = ""
