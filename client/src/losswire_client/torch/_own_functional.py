"""Losses that ``torch.nn.functional`` has with other arguments, or does not have."""

from torch import Tensor

from losswire_client import Client
from losswire_client.torch._autograd import evaluate
from losswire_client.torch._heads import AnyHead


def linear_cross_entropy(
    input: Tensor,
    head: AnyHead,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    divisor: float | None = None,
    client: Client | None = None,
) -> Tensor:
    """Softmax cross-entropy of hidden states, whose logits the server computes: `Client.linear_cross_entropy`.

    It is ``torch.nn.functional.linear_cross_entropy`` with a frozen output layer: only the input gets a gradient.

    Args:
        input: Hidden states of shape (H) or (..., H), on any device. The only argument that gets a gradient, once.
        head: A `losswire_client.Head`; digest or alias of one that the server has; or an ``nn.Linear`` or a tuple of
            weight and bias, which is made a head once, and must not require a gradient.
        target: Class indices of the input's shape without H, or probabilities with the head's V classes in place of H.
        weight: A factor for each class, of shape (V), in a floating dtype.
        ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
        reduction: ``none``, ``mean`` or ``sum``.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
        z_loss: As in `cross_entropy`.
        divisor: As in `cross_entropy`.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Returns:
        The loss, a scalar or for reduction ``none`` of the shape of index targets, in the input's dtype and on its
        device.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
        LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
    """
    return evaluate(
        "linear_cross_entropy",
        input,
        {"target": target, "weight": weight},
        client=client,
        head=head,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        divisor=divisor,
    )


def kl_divergence(
    input: Tensor,
    target: Tensor,
    *,
    divergence: str = "forward",
    beta: float | None = None,
    temperature: float = 1.0,
    head: AnyHead | None = None,
    target_head: AnyHead | None = None,
    target_classes: Tensor | None = None,
    tail: str | None = None,
    labels: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    divisor: float | None = None,
    client: Client | None = None,
) -> Tensor:
    """A divergence of a teacher's and a student's distributions over classes: `Client.kl_divergence`.

    It is not multiplied by the square of the temperature.

    Args:
        input: The student's logits of shape (C) or (..., C), or with ``head`` its hidden states, on any device. The
            only argument that gets a gradient, once.
        target: The teacher's logits of the input's shape; with ``target_head`` its hidden states; with
            ``target_classes`` its log-probabilities of some classes, of shape (..., k).
        divergence: ``forward``, KL(target || input); ``reverse``, KL(input || target); or ``jensen_shannon``.
        beta: The target's share of the mixture, in (0, 1), of ``jensen_shannon``; 0.5 if None.
        temperature: What logits are divided by, from 1e-15 to 1e15.
        head: Output layer of the input, as in `linear_cross_entropy`; None if the input is logits.
        target_head: The same of the target.
        target_classes: The classes that the target has log-probabilities of, of its shape, in any integer dtype.
        tail: What becomes of all other classes: ``renormalize``, ``one_bin`` or ``drop``.
        labels: A class for each row, of the input's shape without its last dimension, in any integer dtype.
        ignore_index: Rows with this label have loss 0 and gradient 0 and do not count in ``mean``.
        reduction: ``none``, ``mean`` or ``sum``.
        divisor: As in `cross_entropy`.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Returns:
        The loss, a scalar or for reduction ``none`` of the input's shape without its last dimension, in the input's
        dtype and on its device.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
        LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
    """
    return evaluate(
        "kl_divergence",
        input,
        {"target": target, "target_classes": target_classes, "labels": labels},
        client=client,
        divergence=divergence,
        beta=beta,
        temperature=temperature,
        head=head,
        target_head=target_head,
        tail=tail,
        ignore_index=ignore_index,
        reduction=reduction,
        divisor=divisor,
    )
