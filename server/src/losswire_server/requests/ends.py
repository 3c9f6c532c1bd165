"""How requests end, for the metrics that count them."""

from collections.abc import Sequence
from typing import NamedTuple

import grpc

from losswire import v1


class Evaluated(NamedTuple):
    """Requests that were evaluated together, or one that was alone.

    Attributes:
        request: One of them; they have their loss and their series in common.
        responses: The answers to all of them.
    """

    request: v1.EvaluateRequest
    responses: Sequence[v1.EvaluateResponse]


End = Evaluated | grpc.StatusCode  # the latter of one request that failed, and whose failure is in the answer
