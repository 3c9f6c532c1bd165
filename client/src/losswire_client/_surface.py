"""The losses as callers see them, declared once for clients that wait and clients that are awaited."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, Unpack

import numpy.typing as npt

from losswire_client._calls import checks_call
from losswire_client._request.arguments import put_together
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.head import Head
from losswire_client._request.options import Common

AnswerT = TypeVar("AnswerT")


class Losses(ABC, Generic[AnswerT]):
    """The losses, with the names and the arguments of ``torch.nn.functional`` where it has them."""

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
        z_loss: float = 0.0,
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
            z_loss: Factor of the square of each row's log-sum-exp, which is added to its loss, times the weight that
                the row has in `Result.weight_sum`. It keeps logits small; `Result.z_loss_sum` is what it adds.
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        own = {
            "weight": weight,
            "ignore_index": ignore_index,
            "label_smoothing": label_smoothing,
            "z_loss": z_loss,
        }
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

    @checks_call
    def linear_cross_entropy(
        self,
        input: npt.ArrayLike,
        head: Head | str,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        **common: Unpack[Common],
    ) -> AnswerT:
        """Softmax cross-entropy of hidden states, as ``torch.nn.functional.linear_cross_entropy``.

        The server has the head, and computes the logits: they never travel. Hidden states have V / H times fewer bytes.

        Args:
            input: Hidden states of shape (H) or (..., H), in float32, float16 or bfloat16; in float64 for a head in
                float64, and only then. The gradient is theirs: a head gets none.
            head: The output layer: a `Head`, which is registered if the server lacks it; or digest or alias of one that
                the server has.
            target: Class indices of the input's shape without H, in any integer dtype, each in [0, V) or equal to
                ``ignore_index``; or probabilities of the classes, of the input's shape with V in place of H, in a
                floating dtype.
            weight: As in `cross_entropy`, of shape (V).
            ignore_index: As in `cross_entropy`.
            reduction: ``none``, ``mean`` or ``sum``.
            label_smoothing: As in `cross_entropy`.
            z_loss: As in `cross_entropy`.
            **common: See `Common`. Outputs with a number for each class have V in place of H.

        Raises:
            HeadNotFoundError: The server has no head of this name, or takes none from callers.
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        own = {
            "head": head,
            "weight": weight,
            "ignore_index": ignore_index,
            "label_smoothing": label_smoothing,
            "z_loss": z_loss,
        }
        return self._evaluate(partial(put_together, "linear_cross_entropy", input, target, reduction, own), common)

    @checks_call
    def kl_divergence(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        divergence: str = "forward",
        beta: float | None = None,
        temperature: float = 1.0,
        head: Head | str | None = None,
        target_head: Head | str | None = None,
        target_classes: npt.ArrayLike | None = None,
        tail: str | None = None,
        labels: npt.ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        **common: Unpack[Common],
    ) -> AnswerT:
        """A divergence of two distributions over classes, as in distillation, and in comparing a model with another.

        With p the target's distribution and q the input's it is KL(p || q) for ``forward``, KL(q || p) for ``reverse``,
        and beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q for ``jensen_shannon``. It is not
        multiplied by the square of the temperature. Classes are the last dimension.

        Args:
            input: Logits of shape (C) or (..., C), in float64, float32, float16 or bfloat16; with ``head`` hidden
                states of shape (..., H). The gradient is theirs.
            target: Logits of the input's shape; with ``target_head`` hidden states of as many rows; with
                ``target_classes`` log-probabilities of some classes, of shape (..., k), where -infinity has no share.
            divergence: ``forward``, ``reverse`` or ``jensen_shannon``.
            beta: The target's share of the mixture, in (0, 1) and at least 1e-15 from both, of ``jensen_shannon``;
                0.5 if None.
            temperature: What logits are divided by, from 1e-15 to 1e15.
            head: Output layer of the input, as in `linear_cross_entropy`; None if the input is logits.
            target_head: The same of the target.
            target_classes: The classes that the target has log-probabilities of, of its shape, in any integer dtype.
            tail: What becomes of all other classes, with ``target_classes``: ``renormalize`` conditions both
                distributions on the named classes, ``one_bin`` takes the others as one class more, ``drop`` leaves them
                out of the sum.
            labels: A class for each row, such as the token that came, of the input's shape without its last dimension,
                in any integer dtype. `Result.exact` then tells how its log-probability changes.
            ignore_index: Rows with this label have loss 0 and gradient 0 and do not count in ``mean``.
            reduction: ``none``, ``mean`` or ``sum``.
            **common: See `Common`. Outputs are those of the input's distribution.

        Raises:
            HeadNotFoundError: As in `linear_cross_entropy`.
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        own: dict[str, Any] = {
            "divergence": divergence,
            "beta": beta,
            "temperature": temperature,
            "head": head,
            "target_head": target_head,
            "tail": tail,
            "target_classes": target_classes,
            "labels": labels,
            "ignore_index": ignore_index,
        }
        return self._evaluate(partial(put_together, "kl_divergence", input, target, reduction, own), common)

    @abstractmethod
    def _evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> AnswerT:
        """Evaluates the evaluation that `put_together` makes with the options among `common`."""
