from collections import defaultdict, deque
from collections.abc import Sequence

from losswire_client.cli.monitor._frame import Frame, Labels

SHOWN = ("calls", "evaluations")
LENGTH = 10
BLOCKS = "▁▂▃▄▅▆▇█"


class Trends:
    """The most recent numbers of the figures that have a trend."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, Labels], deque[float]] = defaultdict(lambda: deque(maxlen=LENGTH))

    def add(self, frame: Frame) -> None:
        for figure in SHOWN:
            for labels, number in frame.now[figure, ""].items():
                self._numbers[figure, labels].append(number)

    def sparkline(self, figure: str, labels: Labels) -> str:
        """The numbers of one of these figures, with the latest on the right."""
        return sparkline(self._numbers[figure, labels])


def sparkline(values: Sequence[float]) -> str:
    """A block for each value. Heights are relative to the largest value."""
    most = max(values, default=0.0)
    return "".join(BLOCKS[round(value / most * (len(BLOCKS) - 1)) if most else 0] for value in values)
