"""Options of a comparison, checked by the SDK's own rules before any file is read."""

from typing import Any

import numpy as np

from losswire_client.cli.comparison._plan import Divergence, Tail
from losswire_client.cli.evaluation import CLASS, ROW, check_by_row


def check_options(divergence: Divergence, tail: Tail | None, series: str, **options: Any) -> None:
    """Checks the options of a divergence.

    Raises:
        BadParameter: An option has a value that no file could be compared with, or does not go with another one.
    """
    own = {**options, "divergence": divergence.replace("-", "_"), "labels": CLASS}
    if tail:
        own |= {"tail": tail.replace("-", "_"), "target_classes": np.array([[0, 1]])}
    check_by_row("kl_divergence", ROW, own, series=series)
