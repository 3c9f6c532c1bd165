"""A server that holds heads, and requests that name them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from losswire import v1
from losswire.heads.content import digest, without_elements
from losswire_server import Server
from losswire_server.heads.registry import Heads
from tests.helpers import serving
from tests.present import present
from tests.server.calls.raw_streams import Batch, tensor
from tests.server.heads.making import a_head

CLASSES, WIDTH = 37, 6
MEAN = v1.Reduction.REDUCTION_MEAN
OUTPUTS = [output for output in v1.Output.values() if output]


def message_of(classes: int = CLASSES, width: int = WIDTH, seed: int = 0) -> v1.Head:
    """A head with its elements."""
    rng = np.random.default_rng(seed)
    return v1.Head(weight=tensor(rng.standard_normal((classes, width), np.float32)), softcap=20.0)


def heads_of_messages(head: v1.Head, alias: str) -> Heads:
    """A registry with a head."""
    heads = Heads(2**30, 8)
    heads.add(digest(head), without_elements(head), a_head(head), aliases=[alias])
    return heads


def heads_of(server: Server) -> Heads:
    return present(server._backend._heads)


def hold(server: Server, head: v1.Head, *aliases: str) -> str:
    """Has a server hold a head. Returns its digest."""
    return heads_of(server).add(digest(head), without_elements(head), a_head(head), aliases=aliases).digest


@contextmanager
def holding(head: v1.Head, *aliases: str, **settings: Any) -> Iterator[Server]:
    with serving(**settings) as server:
        hold(server, head, *aliases)
        yield server


def states(head: str, rows: tuple[int, ...] = (60,), *, probable: bool = False, **fields: Any) -> Batch:
    """A batch of hidden states, with class indices or probabilities."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*rows, WIDTH), np.float32)
    target = rng.random((*rows, CLASSES)) if probable else rng.integers(0, CLASSES, rows)
    return Batch(x, target, "linear_cross_entropy", head=head, **fields)


def outputs(*, probable: bool = False, top_k: int = 3) -> v1.OutputSpec:
    """All that such a batch may ask for."""
    of_targets = (v1.Output.OUTPUT_TARGET_LOG_PROBABILITIES, v1.Output.OUTPUT_TARGET_RANKS) if probable else ()
    wanted = [output for output in OUTPUTS if output not in of_targets]
    return v1.OutputSpec(gradient=v1.GradientSpec(), outputs=wanted, top_k=top_k)
