"""Evaluates a data set on a cluster."""

import os
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import ray
from ray import data as ray_data

from losswire_client import LosswireError, Run, RunResult
from losswire_client._errors import invalid_argument, shown
from losswire_client._keys import Terms
from losswire_client._retry import PASSING
from losswire_client.ray._errors import own_errors
from losswire_client.ray._files import File, Paths, files_of
from losswire_client.ray._groups import named
from losswire_client.ray._parts import Names, Part
from losswire_client.ray._runs import check_no_others, terms_for
from losswire_client.ray._workers import GroupEvaluator, PartEvaluator, listed

MOST_TASKS = 10_000  # Ray's scheduler handles so many; with more parts, a task has several
MOST_LISTING = 1000  # tasks that look up the parts of files
RERUNS = 10  # of a part when the servers were away for longer than the client retries

Workers = int | tuple[int, int] | None


def evaluate(
    data: "Paths | ray_data.Dataset",
    run: Run,
    *,
    input: str | None = None,
    target: str | None = None,
    sample_weight: str | None = None,
    slice: str | None = None,
    key: str | None = None,
    root: str | os.PathLike[str] | None = None,
    workers: Workers = None,
    num_cpus: float = 1,
    finish: bool = False,
) -> RunResult:
    """Evaluates a data set on a Ray cluster, and adds it to a run.

    Each block of the data counts once under its own key, whatever Ray runs again, and however often the job is started.
    The sums have the same bits on any cluster.

    Files are Parquet or ``.npz``. Keys are those of ``losswire eval --run``, ``NAME@FINGERPRINT:ROW``, so either goes
    on with what the other has begun. A block is as many rows as the run's label ``block_rows`` says, or as have 2**24
    numbers in the input. What the run has already is not read again. A `ray.data.Dataset` is cut into other blocks each
    time, so its rows need a column with the key of each. Rows of one key come together, and must fit into the memory of
    a worker. All of them are evaluated, and what the run has already is compared.

    Args:
        data: Files and folders, which all workers must reach, as paths or as URIs such as ``s3://bucket/val``; or a
            `ray.data.Dataset`.
        run: What to add to: see `Client.run`. Workers call the servers that its client calls.
        input: Name of the input's column, or of its array; the usual ones if None, such as ``logits``.
        target: Name of the targets' column; the usual ones if None, such as ``target`` and ``labels``.
        sample_weight: Name of a column with the factor of each row; None for none.
        slice: Name of a column with the slice of each row, texts or integers, or ``file`` or ``folder`` for the slice
            of each file; None for what the run's label ``slice_by`` says, or for none. Rows of several slices in a
            block are several keys, which end in the slice.
        key: Name of the column with the keys of a dataset, texts or integers.
        root: A folder above all files. Their names in keys are their paths from it; otherwise they are their own names,
            which must differ.
        workers: How many workers evaluate, each with a client; or the fewest and the most; None for as many as there
            is room for.
        num_cpus: The processors that each worker takes. Less than 1 has more workers wait for servers at a time.
        finish: Whether to finish the run, which must then have the keys of this data set and no others.

    Raises:
        ConflictError: The run has one of the keys with other sums, or another file by the name of one, or a file by
            another name: the data has changed, or other data has its key.
        PreconditionError: The run has other keys too, so it cannot be finished.
        InvalidArgumentError: An argument is wrong; the message names it. Or a file cannot be read.
        LosswireError: Anything else that can go wrong. The message names the block.
    """
    names = Names(input, target, sample_weight, slice)
    _check_run(run)
    pool = _pool(workers, num_cpus)
    if isinstance(data, ray_data.Dataset):
        if root is not None:
            raise invalid_argument("root", "expected none, since the keys of a dataset are a column")
        keys = _evaluate_dataset(data, run, names, key, pool)
    else:
        if key is not None:
            raise invalid_argument("key", "expected none, since files tell the keys of their blocks")
        keys = _evaluate_files(data, run, names, root, pool)
    return run.finish(keys) if finish else run.result()


def _check_run(run: Run) -> None:
    if not isinstance(run, Run):
        raise invalid_argument("run", f"expected what Client.run returns, got {shown(run)}")


def _evaluate_files(
    data: Paths, run: Run, names: Names, root: str | os.PathLike[str] | None, pool: dict[str, Any]
) -> list[str]:
    terms = terms_for(run, names)
    found = _listed(files_of(data, root), names._replace(slice=terms.array), terms)
    keys = list(chain.from_iterable(some for _, some in found))
    missing = set(run.missing(keys))
    check_no_others(run, [part for part, _ in found], len(keys) - len(missing))
    left = [(part, [key for key in some if key in missing]) for part, some in found if not missing.isdisjoint(some)]
    if left:
        rows = [{"value": pickle.dumps(each)} for each in left]
        parts = ray_data.from_items(rows, override_num_blocks=min(len(rows), MOST_TASKS))
        deque(_values(parts.map(PartEvaluator, fn_constructor_args=(run,), **pool)), maxlen=0)
        check_no_others(run, [part for part, _ in found], len(keys))
    return keys


def _listed(files: list[File], names: Names, terms: Terms) -> list[tuple[Part, list[str]]]:
    """The parts of all files, with the keys of each. The cluster looks them up, since files may be many and far."""
    size = -(-len(files) // MOST_LISTING)
    task = ray.remote(listed)
    with own_errors():
        found = ray.get(
            [task.remote(files[start : start + size], names, terms) for start in range(0, len(files), size)]
        )
    return list(chain.from_iterable(found))


def _evaluate_dataset(
    data: "ray_data.Dataset", run: Run, names: Names, key: str | None, pool: dict[str, Any]
) -> list[str]:
    if "block_rows" in run.labels:  # a row that has a key of each kind would count twice
        raise invalid_argument("run", f"expected another one: the keys of {run.name} are blocks of files")
    if key is None:
        problem = "expected the column that has the key of each row: by itself a dataset is cut otherwise each time"
        raise invalid_argument("key", problem)
    chosen = named(data.columns() or [], names, key)
    rows = data.select_columns(list(dict.fromkeys([key, *filter(None, chosen)])))
    groups = rows.groupby(key)
    found = groups.map_groups(GroupEvaluator, fn_constructor_args=(run, key, chosen), batch_format="numpy", **pool)
    keys = Counter(value.decode() for value in _values(found))
    if apart := [each for each, times in keys.items() if times > 1]:
        raise LosswireError(f"{apart[0]}: Ray has cut the rows of this key apart, so the run has only some of them")
    return list(keys)


def _values(answers: "ray_data.Dataset") -> Iterator[bytes]:
    """What the workers answer, as they do. The first error ends the job."""
    with own_errors(), _rerun(answers.context):
        for row in answers.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])  # noqa: S301 - our own
            yield row["value"]


@contextmanager
def _rerun(context: Any) -> Iterator[None]:
    """Has Ray run again what may pass. A dataset shares its context with those that it was made of."""
    own: dict[str, Any] = {"retried_map_errors": [kind.__name__ for kind in PASSING], "max_map_retries": RERUNS}
    own |= {"raise_original_map_exception": True, "max_errored_blocks": 0}  # no part is left out
    before = {name: getattr(context, name) for name in own}
    try:
        for name, value in own.items():
            setattr(context, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)


def _pool(workers: Workers, num_cpus: float) -> dict[str, Any]:
    strategy: Callable[..., Any] = ray_data.ActorPoolStrategy
    try:
        least, most = workers if isinstance(workers, tuple) else (workers, workers)
        pool = strategy() if workers is None else strategy(min_size=least, max_size=most)
    except (TypeError, ValueError) as error:
        problem = f"expected a number from 1 on, or the fewest and the most, got {shown(workers)}"
        raise invalid_argument("workers", problem) from error
    return {"compute": pool, "num_cpus": num_cpus}
