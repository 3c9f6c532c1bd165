from collections import defaultdict, deque
from collections.abc import Sequence

from losswire_client.cli.monitor._frame import Frame

LENGTH = 24
BLOCKS = "▁▂▃▄▅▆▇█"


class Trends:
    """The most recent rates of calls and of evaluations."""

    def __init__(self) -> None:
        self._rates: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LENGTH))

    def add(self, frame: Frame) -> None:
        rates = [(method.name, method.rate) for method in frame.methods]
        for name, rate in [*rates, *((loss.name, loss.rate) for loss in frame.losses)]:
            self._rates[name].append(rate)

    def sparkline(self, name: str) -> str:
        """The rates of the method or loss of that name, with the latest on the right."""
        return sparkline(self._rates[name])


def sparkline(values: Sequence[float]) -> str:
    """A block for each value. Heights are relative to the largest value."""
    most = max(values, default=0.0)
    return "".join(BLOCKS[round(value / most * (len(BLOCKS) - 1)) if most else 0] for value in values)
