"""Losses with the names and arguments of ``torch.nn.functional``."""

from torch import Tensor
from torch.nn import _reduction

from losswire_client import Client
from losswire_client.torch._autograd import evaluate


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    divisor: float | None = None,
    client: Client | None = None,
) -> Tensor:
    """Softmax cross-entropy of logits, as ``torch.nn.functional.cross_entropy``.

    Args:
        input: Logits of shape (C), (N, C) or (N, C, d1, ..., dk), in float64, float32, float16 or bfloat16, on any
            device. The only argument that gets a gradient.
        target: Class indices of the input's shape without C, in any integer dtype, each in [0, C) or equal to
            ``ignore_index``; or probabilities of the classes, of the input's shape, in a floating dtype.
        weight: A factor for each class, of shape (C), in a floating dtype.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
        z_loss: Factor of the square of each row's log-sum-exp, which is added to its loss, times the weight that the
            row has in ``mean``. Then there is no second derivative.
        divisor: What ``mean`` divides by in place of its own divisor, such as the tokens of all ranks; its own if None.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Returns:
        The loss, a scalar or for reduction ``none`` of the shape of index targets, in the input's dtype and on its
        device.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
        LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
    """
    return evaluate(
        "cross_entropy",
        input,
        {"target": target, "weight": weight},
        client=client,
        divisor=divisor,
        ignore_index=ignore_index,
        reduction=_reduction_of(size_average, reduce, reduction),
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    divisor: float | None = None,
    client: Client | None = None,
) -> Tensor:
    """Negative log-likelihood of log-probabilities, as ``torch.nn.functional.nll_loss``.

    Args:
        input: Log-probabilities, as the logits in `cross_entropy`. Whether they are log-probabilities is not checked.
        target: Class indices, as in `cross_entropy`.
        weight: As in `cross_entropy`.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        ignore_index: As in `cross_entropy`.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        divisor: What ``mean`` divides by in place of its own divisor, such as the tokens of all ranks; its own if None.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Returns:
        The loss, as in `cross_entropy`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
        LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
    """
    return evaluate(
        "nll_loss",
        input,
        {"target": target, "weight": weight},
        client=client,
        divisor=divisor,
        ignore_index=ignore_index,
        reduction=_reduction_of(size_average, reduce, reduction),
    )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    divisor: float | None = None,
    client: Client | None = None,
) -> Tensor:
    """Binary cross-entropy of probabilities, as ``torch.nn.functional.binary_cross_entropy``.

    Args:
        input: Probabilities of any shape, each in [0, 1], in float64, float32, float16 or bfloat16, on any device. The
            only argument that gets a gradient.
        target: Of the input's shape, each in [0, 1], in a floating dtype.
        weight: A factor for each element, which broadcasts to the input's shape, in a floating dtype.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        divisor: What ``mean`` divides by in place of its own divisor, such as the tokens of all ranks; its own if None.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Returns:
        The loss, a scalar or for reduction ``none`` of the input's shape, in the input's dtype and on its device.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
        LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
    """
    return evaluate(
        "binary_cross_entropy",
        input,
        {"target": target, "weight": weight},
        client=client,
        divisor=divisor,
        reduction=_reduction_of(size_average, reduce, reduction),
    )


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    *,
    divisor: float | None = None,
    client: Client | None = None,
) -> Tensor:
    """Binary cross-entropy of logits, as ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Args:
        input: Logits of any shape, in float64, float32, float16 or bfloat16, on any device. The only argument that gets
            a gradient.
        target: Of the input's shape, in a floating dtype.
        weight: As in `binary_cross_entropy`.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        pos_weight: A factor for the positive part of each element's loss, which broadcasts to the input's shape.
        divisor: What ``mean`` divides by in place of its own divisor, such as the tokens of all ranks; its own if None.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Returns:
        The loss, as in `binary_cross_entropy`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
        LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
    """
    return evaluate(
        "binary_cross_entropy_with_logits",
        input,
        {"target": target, "weight": weight, "pos_weight": pos_weight},
        client=client,
        divisor=divisor,
        reduction=_reduction_of(size_average, reduce, reduction),
    )


def _reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction. The deprecated arguments take precedence, with PyTorch's own warning."""
    if size_average is None and reduce is None:
        return reduction
    return _reduction.legacy_get_string(size_average, reduce)
