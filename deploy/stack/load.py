"""A steady load of all kinds of call, a few dozen a second, so that every panel has something to show."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from losswire_client import Client, ConflictError, InvalidArgumentError, LosswireError, Retry

Array = npt.NDArray[Any]
Call = Callable[[Client, np.random.Generator], object]
ROWS, CLASSES = 64, 100
KEYS = [f"shard-{number}" for number in range(50)]
LARGE = (512, 4000)  # 8 MB: a stream of slabs
RETRY = Retry(seconds=2.0)  # nothing that ends comes back, so that waiting longer only delays the end


@dataclass
class Done:
    """How many calls ended, by kind, and the first error of each kind that failed."""

    calls: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """What is called, with which client, and the seconds between two calls."""

    call: Call
    seconds: float
    options: dict[str, Any] = field(default_factory=dict)
    is_beside_the_server: bool = False


@contextmanager
def sending(proxy: str, server: str, kinds: Mapping[str, Kind]) -> Iterator[Done]:
    """Sends calls until the block ends.

    Args:
        proxy: Where callers call.
        server: A server itself, for a caller beside it: shared memory leads through no proxy.
        kinds: What is called, by name.
    """
    done, stop = Done(), threading.Event()
    callers = [
        threading.Thread(target=_call, args=(name, server if kind.is_beside_the_server else proxy, kind, done, stop))
        for name, kind in kinds.items()
    ]
    for caller in callers:
        caller.start()
    try:
        yield done
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def _call(name: str, target: str, kind: Kind, done: Done, stop: threading.Event) -> None:
    rng = np.random.default_rng(len(name))
    with Client(target, retry=RETRY, **kind.options) as client:
        while not stop.is_set():
            try:
                kind.call(client, rng)
                done.calls[name] += 1
            except LosswireError as error:
                done.errors.setdefault(name, str(error))
            stop.wait(kind.seconds)


def logits(rng: np.random.Generator, rows: int = ROWS, classes: int = CLASSES) -> tuple[Array, Array]:
    """Logits that know the target better or worse from batch to batch, and the target."""
    target = rng.integers(classes, size=rows)
    drawn = rng.standard_normal((rows, classes), np.float32)
    drawn[np.arange(rows), target] += 2 + np.sin(rng.uniform(0, 6))
    return drawn, target


def training(client: Client, rng: np.random.Generator) -> object:
    """A batch with its gradient."""
    return client.cross_entropy(*logits(rng), grad=True, label_smoothing=0.1, series="train")


def validating(client: Client, rng: np.random.Generator) -> object:
    """Several batches in a message, in half of the bytes, with the classes that they predict."""
    batches = (logits(rng) for _ in range(4))
    narrow = ((x.astype(ml_dtypes.bfloat16), y) for x, y in batches)
    return list(client.map(narrow, series="validation", outputs=("predictions",)))


def language_model(client: Client, rng: np.random.Generator) -> object:
    """A batch that travels as a stream of slabs."""
    return client.cross_entropy(*logits(rng, *LARGE), grad=True, series="language-model")


def likelihoods(client: Client, rng: np.random.Generator) -> object:
    """Log-probabilities in float64, of which some rows are ignored."""
    drawn, target = logits(rng)
    target[::8] = -100
    normalised = drawn.astype(np.float64) - np.logaddexp.reduce(drawn.astype(np.float64), axis=1, keepdims=True)
    return client.nll_loss(normalised, target, series="likelihood")


def labelling(client: Client, rng: np.random.Generator) -> object:
    """Several labels a row, as logits and as probabilities."""
    drawn = rng.standard_normal((ROWS, 12), np.float32)
    labels = (rng.uniform(size=drawn.shape) < 0.3).astype(np.float32)
    client.binary_cross_entropy(1 / (1 + np.exp(-drawn)), labels, series="labels")
    return client.binary_cross_entropy_with_logits(drawn.astype(np.float16), labels.astype(np.float16), series="labels")


def mistaken(client: Client, rng: np.random.Generator) -> object:
    """A wrong target, which is refused, and a loss that is no number, which no mean has."""
    drawn, target = logits(rng)
    client.cross_entropy(np.full_like(drawn, np.nan), target, series="diverged")
    try:
        return client.cross_entropy(drawn, target + CLASSES)
    except InvalidArgumentError as refused:
        return refused


def resident(client: Client, rng: np.random.Generator) -> object:
    """A batch that lies in memory of the server's."""
    drawn, target = logits(rng, *LARGE)
    array = client.empty(drawn.shape, drawn.dtype)
    array[...] = drawn
    return client.cross_entropy(array, target, grad=True, series="language-model")


class Worker:
    """Fills one run after the other, key by key, and sends each key again, as if it had crashed before the answer.

    The last key of each run comes with other numbers too, which is refused.
    """

    def __init__(self) -> None:
        self._number = 1

    def __call__(self, client: Client, rng: np.random.Generator) -> object:
        run = client.run(f"stack/{self._number}", expected_keys=len(KEYS), series="validation")
        missing = run.missing(KEYS)
        if not missing:
            self._number += 1
            return run.finish()
        batch = logits(rng)
        for _ in range(2):
            run.cross_entropy(*batch, key=missing[0])
        with suppress(ConflictError):
            return len(missing) == 1 and run.cross_entropy(*logits(rng), key=missing[0])
        return run


KINDS = {
    "training": Kind(training, 0.05),
    "training beside it": Kind(training, 0.05),
    "validation": Kind(validating, 0.2, {"coalesce": True}),
    "language model": Kind(language_model, 0.5),
    "likelihoods": Kind(likelihoods, 0.2),
    "labels": Kind(labelling, 0.2),
    "runs": Kind(Worker(), 0.2),
    "mistakes": Kind(mistaken, 1.0),
    "shared memory": Kind(resident, 0.5, is_beside_the_server=True),
}
