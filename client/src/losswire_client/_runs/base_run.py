"""What both kinds of run are made of."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Unpack

import numpy.typing as npt

from losswire import v1
from losswire.losses import loss_of
from losswire_client._errors import invalid_argument
from losswire_client._request.arguments import put_together
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.fields import assign_text
from losswire_client._request.options import Options
from losswire_client._result import Result
from losswire_client._runs.calls import RunCalls
from losswire_client._runs.spec import Heads, from_spec
from losswire_client._runs.surface import AnswerT, BatchOptions, RunLosses

PREDICTIONS = v1.Output.OUTPUT_PREDICTIONS


class BaseRun(RunLosses[AnswerT]):
    """A run of a client's, but for how its coroutines are run.

    A pickled run keeps the arguments of its client, and connects anew where it is loaded. It names its heads, and does
    not contain them.
    """

    def __init__(
        self, client: Any, run: v1.Run, *, accuracy: bool, series: str, heads: Heads = MappingProxyType({})
    ) -> None:
        self._client = client
        self._run = v1.Run()
        self._run.CopyFrom(run)
        for changing in (self._run.slices, self._run.classes):
            del changing[:]
        self._run.ClearField("totals")
        self._accuracy = accuracy
        self._series = series
        self._heads = heads
        self._options = from_spec(run.spec)

    @property
    def client(self) -> Any:
        """The client that it calls by, which the run does not close."""
        return self._client

    @property
    def name(self) -> str:
        return self._run.name

    @property
    def loss(self) -> str:
        """The name of its loss."""
        return loss_of(self._run.spec)

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of its loss, by the names of arguments, with arrays of numpy."""
        return MappingProxyType(self._options)

    @property
    def by_class(self) -> bool:
        """Whether it adds up each class by itself too."""
        return self._run.by_class

    @property
    def labels(self) -> Mapping[str, str]:
        """What its creator noted about it."""
        return MappingProxyType(dict(self._run.labels))

    @property
    def digest(self) -> str:
        """SHA-256 of its loss and options, in hexadecimal. Runs with the same digest can be compared."""
        return self._run.spec_digest

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, loss={self.loss!r}, client={self._client!r})"

    def __getstate__(self) -> tuple[Any, bytes, bool, str]:
        return self._client, self._run.SerializeToString(), self._accuracy, self._series

    def __setstate__(self, state: tuple[Any, bytes, bool, str]) -> None:
        client, run, accuracy, series = state
        BaseRun.__init__(self, client, v1.Run.FromString(run), accuracy=accuracy, series=series)

    @property
    def _calls(self) -> RunCalls:
        calls: RunCalls = self._client._runs  # noqa: SLF001 - which its client makes for its runs
        return calls

    async def _evaluate_keyed(
        self,
        loss: str | None,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        key: str,
        classes: Mapping[str, npt.ArrayLike | None],
        batch: BatchOptions,
    ) -> Result:
        if loss not in (None, self.loss):
            raise invalid_argument("loss", f"expected {self.loss}, which is that of the run {self.name!r}, got {loss}")
        common: dict[str, Any] = {"series": self._series, **batch}
        place = self._key(key, common.pop("slice", ""))
        put = partial(self._put_together, input, target, common.pop("reduction", "mean"), classes, place)
        evaluate = self._client._put_together_and_evaluate  # noqa: SLF001 - the client's way for its runs too
        result: Result = await evaluate(put, common)
        return result if "predictions" in common.get("outputs", ()) else replace(result, predictions=None)

    def _put_together(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        reduction: str,
        classes: Mapping[str, Any],
        key: v1.RunKey,
        **options: Unpack[Options],
    ) -> Evaluation:
        """The evaluation, which also asks for what the run adds up."""
        evaluation = put_together(self.loss, input, target, reduction, {**self._options, **classes}, key, **options)
        evaluation.heads.update(self._heads)
        request = evaluation.request
        if self._accuracy and PREDICTIONS not in request.outputs.outputs:
            request.outputs.outputs.append(PREDICTIONS)
        if self.by_class:
            request.exact.by_class = True
        return evaluation

    def _key(self, key: str, slice: str) -> v1.RunKey:
        message = v1.RunKey(run=self.name)
        assign_text(message, "key", key)
        assign_text(message, "slice", slice)
        if not key:
            raise invalid_argument("key", "expected a name for this part of the data, got an empty one")
        return message
