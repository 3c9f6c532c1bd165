"""The base of the metrics: two sums that add up exactly, and the client that they come from."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from losswire_client import Client, InvalidArgumentError, Result
from losswire_client._errors import invalid_argument
from losswire_client.torch._clients import ClientHandle, client_or_default


class MeanLoss(Metric):
    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    loss_sum: Tensor
    weight_sum: Tensor

    def __init__(self, client: Client | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._handle = ClientHandle(client)
        for name in ("loss_sum", "weight_sum"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        # A MetricCollection merges metrics whose states are equal after the first batch, and then updates only one of
        # them. After an empty batch all states would be equal. NaN prevents this: it is equal to nothing.
        self.add_state("_unequal", torch.tensor(math.nan), dist_reduce_fx="max")

    def compute(self) -> Tensor:
        """The mean so far, over all workers: a scalar in float64, NaN if nothing counted."""
        return self.loss_sum / self.weight_sum

    def _add(self, loss: str, preds: Tensor, target: Tensor, **options: object) -> None:
        evaluate: Callable[..., Result] = getattr(client_or_default(self._handle.client), loss)
        with _input_called_preds():
            # "sum" needs the fewest bytes, and the answer has both sums whatever the reduction.
            result = evaluate(preds.detach(), target.detach(), **options, reduction="sum")
        self.loss_sum += result.loss_sum
        self.weight_sum += result.weight_sum

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> torch.nn.Module:
        """Moves tensors, but changes their dtype only for `set_dtype`. TorchMetrics would obey ``.to(dtype)`` too."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(fn(tensor.new_empty(0)).device)

        return super()._apply(fn if self._dtype_convert else move, exclude_state)


@contextmanager
def _input_called_preds() -> Iterator[None]:
    """Names the argument in errors as TorchMetrics does."""
    try:
        yield
    except InvalidArgumentError as error:
        if error.argument != "input":
            raise
        raise invalid_argument("preds", str(error).removeprefix("input: "), error.code) from error
