from typing import Any

from torch import Tensor

from losswire_client import Client, Run
from losswire_client._errors import invalid_argument
from losswire_client.torchmetrics._mean_loss import MeanLoss
from losswire_client.torchmetrics._run_backed import check_arguments, unless_default

BINARY = ("binary_cross_entropy_with_logits", "binary_cross_entropy")


class CrossEntropy(MeanLoss):
    """The mean of ``torch.nn.functional.cross_entropy`` over all rows of all batches and workers.

    Its sums are float64, and stay float64 when the model that contains the metric changes its dtype. `set_dtype`
    changes them, for a device that has no float64. Predictions may be on another device than the metric. A copy shares
    the client. A pickled metric contains the client that it was given, which connects anew where it is loaded.

    Args:
        weight: A factor for each class, of shape (C), in a floating dtype; ``mean`` divides by the sum of the weights
            of the targets' classes, as in PyTorch.
        ignore_index: Rows with this target do not count.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
        client: The client that evaluates it; the process's default client if None
            (`losswire_client.torch.set_default_client`).
        run: A `losswire_client.Run` of this loss, in place of the other arguments: its options are those of the run.
            See `losswire_client.torchmetrics`.
        **kwargs: Keyword arguments of `torchmetrics.Metric`.

    Attributes:
        loss_sum: Sum of the losses so far.
        weight_sum: What the mean divides by. With a run both stay 0, since the server has the sums.

    Raises:
        InvalidArgumentError: The client is not a `Client`, or there are a run and other arguments. Otherwise arguments
            are checked when a batch is evaluated.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        *,
        client: Client | None = None,
        run: Run | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(client, run, **kwargs)
        self.register_buffer("weight", weight, persistent=False)  # an option, not a state of the metric
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        numbers = {
            "ignore_index": unless_default(ignore_index, -100),
            "label_smoothing": unless_default(label_smoothing, 0.0),
        }
        check_arguments(run, ("cross_entropy",), weight=weight, client=client, **numbers)

    def update(self, preds: Tensor, target: Tensor, key: str | None = None, slice: str = "") -> None:
        """Adds a batch, which may be empty.

        Args:
            preds: Logits of shape (C), (N, C) or (N, C, d1, ..., dk), in float64, float32, float16 or bfloat16.
            target: Class indices of that shape without C, in any integer dtype; or probabilities of that shape.
            key: With a run, and only then: the name of the part of it that this batch is. It counts once.
            slice: With a run: the group of keys that it is in.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
        """
        self._add(
            "cross_entropy",
            preds,
            target,
            key,
            slice,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )


class BinaryCrossEntropy(MeanLoss):
    """The mean of ``torch.nn.functional.binary_cross_entropy_with_logits`` over all elements, batches and workers.

    Dtypes, devices and copies are as for `CrossEntropy`.

    Args:
        weight: A factor for each element, which broadcasts to the shape of every batch, in a floating dtype. The mean
            divides by the number of elements, as in PyTorch.
        pos_weight: A factor for the positive part of each element's loss, which broadcasts likewise; for logits only.
        from_logits: Whether predictions are logits. If not, they are probabilities, as in
            ``torch.nn.functional.binary_cross_entropy``.
        client: The client that evaluates it; the process's default client if None
            (`losswire_client.torch.set_default_client`).
        run: A `losswire_client.Run` of either loss, in place of the other arguments: its options are those of the run.
            See `losswire_client.torchmetrics`.
        **kwargs: Keyword arguments of `torchmetrics.Metric`.

    Attributes:
        loss_sum: Sum of the losses so far.
        weight_sum: What the mean divides by: the number of elements. With a run both stay 0, since the server has the
            sums.

    Raises:
        InvalidArgumentError: The client is not a `Client`, there is a ``pos_weight`` for probabilities, or there are a
            run and other arguments.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        pos_weight: Tensor | None = None,
        *,
        from_logits: bool = True,
        client: Client | None = None,
        run: Run | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(client, run, **kwargs)
        losses = BINARY if from_logits else BINARY[1:]  # the run of either loss tells by itself
        check_arguments(run, losses, weight=weight, pos_weight=pos_weight, client=client)
        if pos_weight is not None and not from_logits:
            raise invalid_argument("pos_weight", "expected None for probabilities, since only logits take it")
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("pos_weight", pos_weight, persistent=False)
        self.from_logits = from_logits if run is None else run.loss == BINARY[0]

    def update(self, preds: Tensor, target: Tensor, key: str | None = None, slice: str = "") -> None:
        """Adds a batch, which may be empty.

        Args:
            preds: Logits or probabilities of any shape, in float64, float32, float16 or bfloat16.
            target: Labels of that shape: 0 and 1 in any dtype, or numbers between them in a floating dtype.
            key: With a run, and only then: the name of the part of it that this batch is. It counts once.
            slice: With a run: the group of keys that it is in.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the docstring of `losswire_client` draws the tree.
        """
        target = target if target.is_floating_point() else target.to(preds.dtype)
        if self.from_logits:
            options = {"weight": self.weight, "pos_weight": self.pos_weight}
            self._add(BINARY[0], preds, target, key, slice, **options)
        else:
            self._add(BINARY[1], preds, target, key, slice, weight=self.weight)
