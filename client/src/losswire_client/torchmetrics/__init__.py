"""Means of losses as metrics of TorchMetrics. They are exact over batches, workers and shards of any size, even empty.

    >>> from losswire_client.torchmetrics import CrossEntropy
    >>> validation_loss = CrossEntropy(ignore_index=0)
    >>> for logits, target in batches:
    ...     validation_loss.update(logits, target)
    >>> validation_loss.compute()  # over the rows of all batches, and of all workers of torch.distributed

A metric keeps the server's sums in float64, and divides them once. The mean of the workers' means, or of the batches'
means, is another number. No gradient is computed and none is sent. A metric that was given no client uses one that the
process shares: see `losswire_client.torch.set_default_client`.

With a run the sums are on the server, and each batch has a key. So workers may come, go and evaluate a batch again, and
need no process group:

    >>> with client.run("val-2026-11", ignore_index=0) as run:
    ...     validation_loss = CrossEntropy(run=run)
    ...     validation_loss.update(logits, target, key="shard-7")
    ...     validation_loss.compute()  # over all keys of the run, whoever evaluated them

`reset` then forgets nothing, since a run adds up one evaluation for good: the next epoch is another run.
"""

from losswire_client._install import missing

try:
    import torchmetrics  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(missing("losswire_client.torchmetrics needs TorchMetrics", "torchmetrics")) from error

from losswire_client.torchmetrics._metrics import BinaryCrossEntropy, CrossEntropy

__all__ = ["BinaryCrossEntropy", "CrossEntropy"]
