"""Modules of ``torch.nn`` whose forward pass calls a server. Everything else about them is PyTorch's own."""

from torch import Tensor, nn

from losswire_client import Client
from losswire_client.torch import _functional as F
from losswire_client.torch._clients import ClientHandle


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """Softmax cross-entropy of logits: ``torch.nn.CrossEntropyLoss``, evaluated by a server.

    A copy of the module shares its client. A pickled module contains the client that it was given, if any, which
    connects anew where the module is loaded.

    Args:
        weight: A factor for each class, of shape (C), in a floating dtype: a buffer, as in PyTorch.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
        client: The client that evaluates it; the process's default client if None (`set_default_client`).

    Raises:
        InvalidArgumentError: The client is not a `Client`. Other arguments are checked when the loss is evaluated.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        client: Client | None = None,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        self._handle = ClientHandle(client)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss, as `losswire_client.torch.cross_entropy`, where shapes, dtypes and errors are documented.

        Args:
            input: Logits of shape (C), (N, C) or (N, C, d1, ..., dk).
            target: Class indices of the input's shape without C, or probabilities of the input's shape.
        """
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            client=self._handle.client,
        )


class NLLLoss(nn.NLLLoss):
    """Negative log-likelihood of log-probabilities: ``torch.nn.NLLLoss``, evaluated by a server.

    Args:
        weight: A factor for each class, of shape (C), in a floating dtype: a buffer, as in PyTorch.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        client: As for `CrossEntropyLoss`.

    Raises:
        InvalidArgumentError: The client is not a `Client`. Other arguments are checked when the loss is evaluated.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        client: Client | None = None,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction)
        self._handle = ClientHandle(client)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss, as `losswire_client.torch.nll_loss`, where shapes, dtypes and errors are documented.

        Args:
            input: Log-probabilities of shape (C), (N, C) or (N, C, d1, ..., dk).
            target: Class indices of the input's shape without C.
        """
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            client=self._handle.client,
        )


class BCELoss(nn.BCELoss):
    """Binary cross-entropy of probabilities: ``torch.nn.BCELoss``, evaluated by a server.

    Args:
        weight: A factor for each element, which broadcasts to the input's shape: a buffer, as in PyTorch.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        client: As for `CrossEntropyLoss`.

    Raises:
        InvalidArgumentError: The client is not a `Client`. Other arguments are checked when the loss is evaluated.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        client: Client | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self._handle = ClientHandle(client)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss, as `losswire_client.torch.binary_cross_entropy`, where dtypes and errors are documented.

        Args:
            input: Probabilities of any shape, each in [0, 1].
            target: Of the input's shape, each in [0, 1].
        """
        return F.binary_cross_entropy(
            input, target, weight=self.weight, reduction=self.reduction, client=self._handle.client
        )


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """Binary cross-entropy of logits: ``torch.nn.BCEWithLogitsLoss``, evaluated by a server.

    Args:
        weight: A factor for each element, which broadcasts to the input's shape: a buffer, as in PyTorch.
        size_average: Deprecated, as in PyTorch: use ``reduction``.
        reduce: Deprecated, as in PyTorch: use ``reduction``.
        reduction: ``none``, ``mean`` or ``sum``.
        pos_weight: A factor for the positive part of each element's loss, which broadcasts to the input's shape: a
            buffer, as in PyTorch.
        client: As for `CrossEntropyLoss`.

    Raises:
        InvalidArgumentError: The client is not a `Client`. Other arguments are checked when the loss is evaluated.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        *,
        client: Client | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction, pos_weight)
        self._handle = ClientHandle(client)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss, as `losswire_client.torch.binary_cross_entropy_with_logits`, where errors are documented.

        Args:
            input: Logits of any shape.
            target: Of the input's shape.
        """
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            client=self._handle.client,
        )
