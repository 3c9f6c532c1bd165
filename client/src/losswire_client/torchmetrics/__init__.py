"""Means of losses as metrics of TorchMetrics. They are exact over batches, workers and shards of any size, even empty.

    >>> from losswire_client.torchmetrics import CrossEntropy
    >>> validation_loss = CrossEntropy(ignore_index=0)
    >>> for logits, target in batches:
    ...     validation_loss.update(logits, target)
    >>> validation_loss.compute()  # over the rows of all batches, and of all workers of torch.distributed

A metric keeps the server's sums in float64, and divides them once. The mean of the workers' means, or of the batches'
means, is another number. No gradient is computed and none is sent. A metric that was given no client uses one that the
process shares: see `losswire_client.torch.set_default_client`.
"""

from losswire_client._install import missing

try:
    import torchmetrics  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(missing("losswire_client.torchmetrics needs TorchMetrics", "torchmetrics")) from error

from losswire_client.torchmetrics._metrics import BinaryCrossEntropy, CrossEntropy

__all__ = ["BinaryCrossEntropy", "CrossEntropy"]
