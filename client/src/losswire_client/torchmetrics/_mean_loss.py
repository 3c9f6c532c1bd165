"""The base of the metrics: two sums that add up exactly, and the client or the run that they come from."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from losswire_client import Client, InvalidArgumentError, Result, Run
from losswire_client._errors import invalid_argument
from losswire_client.torch._clients import ClientHandle, client_or_default
from losswire_client.torchmetrics._run_backed import RunHandle, check_key


class MeanLoss(Metric):
    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    loss_sum: Tensor
    weight_sum: Tensor

    def __init__(self, client: Client | None, run: Run | None, **kwargs: Any) -> None:
        of_run = {} if run is None else {"sync_on_compute": False, "compute_with_cache": False}
        super().__init__(**{**of_run, **kwargs})
        self._handle = ClientHandle(client)
        self._run = RunHandle(run)
        for name in ("loss_sum", "weight_sum"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        # A MetricCollection merges metrics whose states are equal after the first batch, and then updates only one of
        # them. After an empty batch all states would be equal. NaN prevents this: it is equal to nothing.
        self.add_state("_unequal", torch.tensor(math.nan), dist_reduce_fx="max")

    @property
    def run(self) -> Run | None:
        """The run that it adds to."""
        return self._run.run

    @property
    def update_called(self) -> bool:
        """Whether there is a mean: a run may have one before this worker adds to it."""
        return self.run is not None or super().update_called

    def compute(self) -> Tensor:
        """The mean so far, over all workers: a scalar in float64, NaN if nothing counted.

        With a run it is the run's, which the server is asked for anew at each call.
        """
        if self.run is not None:
            return self.loss_sum.new_tensor(self.run.progress().mean)
        return self.loss_sum / self.weight_sum

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Adds a batch, and gives the mean of its rows."""
        if self.run is None:
            mean: Tensor = super().forward(*args, **kwargs)
            return mean
        self.update(*args, **kwargs)
        self._forward_cache = self._batch_mean  # type: ignore[assignment]  # as TorchMetrics itself does
        return self._batch_mean

    def _add(self, loss: str, preds: Tensor, target: Tensor, key: str | None, slice: str, **options: object) -> None:
        check_key(self.run, key, slice)
        if self.run is not None:
            result = self._evaluated(self.run.evaluate, preds, target, key=key, slice=slice)
            self._batch_mean = self.loss_sum.new_tensor(result.loss_sum) / result.weight_sum
            return
        evaluate: Callable[..., Result] = getattr(client_or_default(self._handle.client), loss)
        result = self._evaluated(evaluate, preds, target, **options)
        self.loss_sum += result.loss_sum
        self.weight_sum += result.weight_sum

    def _evaluated(self, evaluate: Callable[..., Result], preds: Tensor, target: Tensor, **options: object) -> Result:
        with _input_called_preds():
            # "sum" needs the fewest bytes, and the answer has both sums whatever the reduction.
            return evaluate(preds.detach(), target.detach(), **options, reduction="sum")

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
