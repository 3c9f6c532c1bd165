"""Evaluates data sets that outgrow one machine, on a Ray cluster, and runs servers on it.

    >>> from losswire_client import Client
    >>> from losswire_client.ray import evaluate
    >>> with Client(["losses-0", "losses-1"]) as client:
    ...     run = client.run("val-2026-11", ignore_index=0)
    ...     print(evaluate("s3://bucket/val", run, finish=True))

Each block of the data counts once, whatever Ray runs again, and however often the job is started.
"""

from losswire_client._install import missing

try:
    import ray.data  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(missing("losswire_client.ray needs Ray Data", "ray")) from error

from losswire_client.ray._evaluate import evaluate
from losswire_client.ray._servers import ServerActor, Servers, serve

__all__ = ["ServerActor", "Servers", "evaluate", "serve"]
