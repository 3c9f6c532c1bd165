"""The losses of a run as callers see them, declared once for runs that wait and runs that are awaited."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, cast

import numpy.typing as npt

from losswire_client._calls import checks_call
from losswire_client._errors import invalid_argument
from losswire_client._request.options import Common
from losswire_client._runs.spec import OPTIONS

AnswerT = TypeVar("AnswerT")
P = ParamSpec("P")
T = TypeVar("T")

NO_CLASSES: Mapping[str, npt.ArrayLike | None] = {}


class BatchOptions(Common, total=False):
    """Keywords of every batch of a run.

    Attributes:
        slice: Name of a group of keys that the run adds up by itself too, such as a domain; none if empty.
        reduction: ``none``, ``mean`` or ``sum``, for `Result.loss` alone: the run adds up rows.
    """

    slice: str
    reduction: str


def refuses_options(method: Callable[P, T]) -> Callable[P, T]:
    """Has a method refuse the options of the run, and whatever else does not fit its signature."""
    checked: Any = checks_call(method)

    @wraps(method)
    def call(self: object, /, *arguments: Any, **keywords: Any) -> Any:
        if option := next((name for name in keywords if name in OPTIONS), None):
            raise invalid_argument(option, "expected no such argument, since the run has it: see `Run.options`")
        return checked(self, *arguments, **keywords)

    return cast(Callable[P, T], call)


class RunLosses(ABC, Generic[AnswerT]):
    """The losses, of which a run has one. Its options are those of the run."""

    @refuses_options
    def evaluate(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        key: str,
        target_classes: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        **batch: Unpack[BatchOptions],
    ) -> AnswerT:
        """Evaluates a batch with the run's loss and options, and counts it under a key.

        It is answered once its sums are on disk. To send it again, here or elsewhere, counts nothing twice:
        `Result.was_counted` tells.

        Args:
            input: As of the loss in `Client`.
            target: As of the loss in `Client`.
            key: Name of the part of the run that this batch is, as in ``val-00017.parquet:3``.
            target_classes: As of `Client.kl_divergence`, like the labels: only for a run with this loss.
            labels: The run tells how their log-probability changes, if all of its keys have labels.
            **batch: See `BatchOptions`.

        Raises:
            ConflictError: The key counts already, with other sums or in another slice.
            PreconditionError: The run is finished, and lacks this key.
            NotFoundError: The run was deleted.
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        classes = {"target_classes": target_classes, "labels": labels}
        return self._add(None, input, target, key, classes, batch)

    @refuses_options
    def cross_entropy(
        self, input: npt.ArrayLike, target: npt.ArrayLike, *, key: str, **batch: Unpack[BatchOptions]
    ) -> AnswerT:
        """As `evaluate`, of a run with this loss."""
        return self._add("cross_entropy", input, target, key, NO_CLASSES, batch)

    @refuses_options
    def nll_loss(
        self, input: npt.ArrayLike, target: npt.ArrayLike, *, key: str, **batch: Unpack[BatchOptions]
    ) -> AnswerT:
        """As `evaluate`, of a run with this loss."""
        return self._add("nll_loss", input, target, key, NO_CLASSES, batch)

    @refuses_options
    def binary_cross_entropy(
        self, input: npt.ArrayLike, target: npt.ArrayLike, *, key: str, **batch: Unpack[BatchOptions]
    ) -> AnswerT:
        """As `evaluate`, of a run with this loss."""
        return self._add("binary_cross_entropy", input, target, key, NO_CLASSES, batch)

    @refuses_options
    def binary_cross_entropy_with_logits(
        self, input: npt.ArrayLike, target: npt.ArrayLike, *, key: str, **batch: Unpack[BatchOptions]
    ) -> AnswerT:
        """As `evaluate`, of a run with this loss."""
        return self._add("binary_cross_entropy_with_logits", input, target, key, NO_CLASSES, batch)

    @refuses_options
    def linear_cross_entropy(
        self, input: npt.ArrayLike, target: npt.ArrayLike, *, key: str, **batch: Unpack[BatchOptions]
    ) -> AnswerT:
        """As `evaluate`, of a run with this loss."""
        return self._add("linear_cross_entropy", input, target, key, NO_CLASSES, batch)

    @refuses_options
    def kl_divergence(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        key: str,
        target_classes: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        **batch: Unpack[BatchOptions],
    ) -> AnswerT:
        """As `evaluate`, of a run with this loss."""
        classes = {"target_classes": target_classes, "labels": labels}
        return self._add("kl_divergence", input, target, key, classes, batch)

    @abstractmethod
    def _add(
        self,
        loss: str | None,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        key: str,
        classes: Mapping[str, npt.ArrayLike | None],
        batch: BatchOptions,
    ) -> AnswerT:
        """Evaluates a batch with a loss, or with that of the run."""
