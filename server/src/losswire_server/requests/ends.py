"""How requests end, for the metrics that count them."""

from collections.abc import Sequence
from typing import NamedTuple

import grpc

from losswire import v1


class Evaluated(NamedTuple):
    """Requests that were evaluated together, or one request alone.

    Attributes:
        loss: Its name; all have the same.
        series: As the requests name it.
        responses: The answers to all of them.
        classes: How many their inputs have; 1 for the binary losses, 0 if not known.
    """

    loss: str
    series: str
    responses: Sequence[v1.EvaluateResponse]
    classes: int = 0


End = Evaluated | grpc.StatusCode  # a status stands for one failed request; the answer has its failure
