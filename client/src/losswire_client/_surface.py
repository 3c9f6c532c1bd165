"""The losses as callers see them, declared once for clients that wait and clients that are awaited."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar, Unpack

import numpy.typing as npt

from losswire_client._calls import checks_call
from losswire_client._request.arguments import put_together
from losswire_client._request.evaluation import Common, Evaluation

AnswerT = TypeVar("AnswerT")


class Losses(ABC, Generic[AnswerT]):
    """The four losses, with the names and the arguments of ``torch.nn.functional``."""

    @property
    def _public_name(self) -> str:
        """The name of the class in errors and texts."""
        return type(self).__name__

    @checks_call
    def cross_entropy(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        **common: Unpack[Common],
    ) -> AnswerT:
        """Softmax cross-entropy of logits, as ``torch.nn.functional.cross_entropy``.

        Args:
            input: Logits of shape (C), (N, C) or (N, C, d1, ..., dk), in float64, float32, float16 or bfloat16.
            target: Class indices of the input's shape without C, in any integer dtype, each in [0, C) or equal to
                ``ignore_index``; or probabilities of the classes, of the input's shape, in a floating dtype.
            weight: A factor for each class, of shape (C), in a floating dtype. For class indices also how to compute it
                from them: ``balanced``, N / (C n_c) for a class that occurs n_c times in N rows, or ``complement``,
                1 - n_c / N.
            ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
            reduction: ``none``, ``mean`` or ``sum``.
            label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        own = {"weight": weight, "ignore_index": ignore_index, "label_smoothing": label_smoothing}
        return self._evaluate(partial(put_together, "cross_entropy", input, target, reduction, own), common)

    @checks_call
    def nll_loss(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        **common: Unpack[Common],
    ) -> AnswerT:
        """Negative log-likelihood of log-probabilities, as ``torch.nn.functional.nll_loss``.

        Args:
            input: Log-probabilities of shape (C), (N, C) or (N, C, d1, ..., dk), in float64, float32, float16 or
                bfloat16. Whether they are log-probabilities is not checked.
            target: Class indices, as in `cross_entropy`.
            weight: As in `cross_entropy`.
            ignore_index: As in `cross_entropy`.
            reduction: ``none``, ``mean`` or ``sum``.
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        own = {"weight": weight, "ignore_index": ignore_index}
        return self._evaluate(partial(put_together, "nll_loss", input, target, reduction, own), common)

    @checks_call
    def binary_cross_entropy(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        reduction: str = "mean",
        **common: Unpack[Common],
    ) -> AnswerT:
        """Binary cross-entropy of probabilities, as ``torch.nn.functional.binary_cross_entropy``.

        Args:
            input: Probabilities of any shape, each in [0, 1], in float64, float32, float16 or bfloat16.
            target: Of the input's shape, in a floating dtype.
            weight: A factor for each element, which broadcasts to the input's shape, in a floating dtype. If all
                targets are 0 or 1, also how to compute it from them: ``balanced`` or ``complement``.
            reduction: ``none``, ``mean`` or ``sum``.
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        own = {"weight": weight}
        return self._evaluate(partial(put_together, "binary_cross_entropy", input, target, reduction, own), common)

    @checks_call
    def binary_cross_entropy_with_logits(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        reduction: str = "mean",
        pos_weight: npt.ArrayLike | None = None,
        **common: Unpack[Common],
    ) -> AnswerT:
        """Binary cross-entropy of logits, as ``torch.nn.functional.binary_cross_entropy_with_logits``.

        Args:
            input: Logits of any shape, in float64, float32, float16 or bfloat16.
            target: Of the input's shape, in a floating dtype.
            weight: As in `binary_cross_entropy`.
            reduction: ``none``, ``mean`` or ``sum``.
            pos_weight: A factor for the positive part of each element's loss, which broadcasts to the input's shape.
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        loss, own = "binary_cross_entropy_with_logits", {"weight": weight, "pos_weight": pos_weight}
        return self._evaluate(partial(put_together, loss, input, target, reduction, own), common)

    @abstractmethod
    def _evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> AnswerT:
        """Evaluates the evaluation that `put_together` makes with the options among `common`."""
