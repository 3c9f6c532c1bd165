"""Modules of losses that ``torch.nn`` has with other arguments, or does not have."""

from typing import Any

from torch import Tensor, nn

from losswire_client import Client, Head
from losswire_client._errors import InvalidArgumentError
from losswire_client.torch import _own_functional as F
from losswire_client.torch._clients import ClientHandle
from losswire_client.torch._errors import TorchArgumentError
from losswire_client.torch._heads import AnyHead, to_head


class HeadHandle:
    """The head of a module. Copies of the module share it, and a pickled module contains it.

    Attributes:
        head: None for none.
    """

    def __init__(self, argument: str, head: AnyHead | None, *, is_required: bool = False) -> None:
        try:
            self.head: Head | str | None = to_head(argument, head) if is_required or head is not None else None
        except InvalidArgumentError as error:
            raise TorchArgumentError.of(error) from error

    def __deepcopy__(self, memo: dict[int, Any]) -> "HeadHandle":
        return self


class LinearCrossEntropyLoss(nn.Module):
    """Softmax cross-entropy of hidden states, whose logits the server computes. Its head is frozen.

    ``torch.nn.LinearCrossEntropyLoss`` has and trains a layer of its own; this module only refers to one, which is no
    part of its parameters.

    Args:
        head: A `losswire_client.Head`; digest or alias of one that the server has; or an ``nn.Linear`` or a tuple of
            weight and bias, which is made a head now, and must neither require a gradient nor be written to.
        weight: A factor for each class, of shape (V), in a floating dtype: a buffer.
        ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
        reduction: ``none``, ``mean`` or ``sum``.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
        z_loss: As in `losswire_client.torch.cross_entropy`.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Raises:
        InvalidArgumentError: The client is not a `Client`, or the head is none. Other arguments are checked when the
            loss is evaluated.
    """

    weight: Tensor | None

    def __init__(
        self,
        head: AnyHead,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        z_loss: float = 0.0,
        client: Client | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.z_loss = z_loss
        self._head = HeadHandle("head", head, is_required=True)
        self._handle = ClientHandle(client)

    def forward(self, input: Tensor, target: Tensor, divisor: float | None = None) -> Tensor:
        """The loss, as `losswire_client.torch.linear_cross_entropy`, where shapes, dtypes and errors are documented.

        Args:
            input: Hidden states of shape (H) or (..., H).
            target: Class indices of the input's shape without H, or probabilities with V in place of H.
            divisor: What ``mean`` divides by; its own divisor if None.
        """
        return F.linear_cross_entropy(
            input,
            self._head.head,  # type: ignore[arg-type]  # which is None only if the constructor has raised an error
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            z_loss=self.z_loss,
            divisor=divisor,
            client=self._handle.client,
        )


class KlDivergence(nn.Module):
    """A divergence of a teacher's and a student's distributions over classes. Only the student gets a gradient.

    Args:
        divergence: As of `losswire_client.torch.kl_divergence`, like the further arguments.
        beta: The target's share of the mixture, of ``jensen_shannon``.
        temperature: What logits are divided by.
        head: Output layer of the input; None if the input is logits.
        target_head: The same of the target.
        tail: What becomes of classes that the target does not name.
        ignore_index: Rows with this label do not count.
        reduction: ``none``, ``mean`` or ``sum``.
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Raises:
        InvalidArgumentError: The client is not a `Client`, or a head is none. Other arguments are checked when the
            loss is evaluated.
    """

    def __init__(
        self,
        divergence: str = "forward",
        *,
        beta: float | None = None,
        temperature: float = 1.0,
        head: AnyHead | None = None,
        target_head: AnyHead | None = None,
        tail: str | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        client: Client | None = None,
    ) -> None:
        super().__init__()
        self.divergence = divergence
        self.beta = beta
        self.temperature = temperature
        self.tail = tail
        self.ignore_index = ignore_index
        self.reduction = reduction
        self._head, self._target_head = HeadHandle("head", head), HeadHandle("target_head", target_head)
        self._handle = ClientHandle(client)

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        target_classes: Tensor | None = None,
        labels: Tensor | None = None,
        divisor: float | None = None,
    ) -> Tensor:
        """The loss, as `losswire_client.torch.kl_divergence`, where shapes, dtypes and errors are documented.

        Args:
            input: The student's logits, or hidden states.
            target: The teacher's logits, hidden states, or log-probabilities of some classes.
            target_classes: These classes.
            labels: A class for each row.
            divisor: What ``mean`` divides by; its own divisor if None.
        """
        return F.kl_divergence(
            input,
            target,
            divergence=self.divergence,
            beta=self.beta,
            temperature=self.temperature,
            head=self._head.head,
            target_head=self._target_head.head,
            target_classes=target_classes,
            tail=self.tail,
            labels=labels,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            divisor=divisor,
            client=self._handle.client,
        )
