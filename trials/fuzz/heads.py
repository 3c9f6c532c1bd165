"""The heads that the server under test holds, as the server and the twin have them."""

from collections.abc import Mapping

import numpy as np

from losswire import v1
from losswire.heads.content import digest, tensors_of, without_elements
from losswire.tensors import decode
from losswire_server.heads.building import build
from losswire_server.heads.registry import Heads
from trials.fuzz.tensors import filled
from trials.twin.heads import Head
from trials.twin.tensors import as_torch

CLASSES, WIDTH = 9, 4


def _message(seed: int, dtype: str, kind: str = "", **numbers: float) -> v1.Head:
    rng = np.random.default_rng(seed)
    head = v1.Head(**numbers)  # type: ignore[arg-type]
    filled(head.weight, dtype, (CLASSES, WIDTH), rng.standard_normal((CLASSES, WIDTH)))
    if kind:
        head.norm.kind, head.norm.eps = v1.NormKind.Value(f"NORM_KIND_{kind}"), 1e-5
        filled(head.norm.weight, dtype, (WIDTH,), rng.random(WIDTH) + 0.5)
        filled(head.bias, dtype, (CLASSES,), rng.standard_normal(CLASSES))
    if kind == "LAYER":
        filled(head.norm.bias, dtype, (WIDTH,), rng.standard_normal(WIDTH))
    return head


MESSAGES: Mapping[str, v1.Head] = {  # by their aliases
    "plain": _message(0, "float32"),
    "half": _message(1, "bfloat16", "RMS", softcap=5.0),
    "double": _message(2, "float64", "LAYER", temperature=1.5),
}


def _held() -> Heads:
    held = Heads(2**20, len(MESSAGES))
    for alias, message in MESSAGES.items():
        tensors = {name: as_torch(decode(tensor, name)) for name, tensor in tensors_of(message).items()}
        form = without_elements(message)
        held.add(digest(message), form, build(form, tensors), permanent=True, aliases=[alias])
    return held


HELD = _held()
TWINS = {name: Head.of(head) for alias, head in MESSAGES.items() for name in (alias, digest(head))}


def fitting(dtype: str) -> list[str]:
    """The aliases of heads that take hidden states of a dtype."""
    return ["double"] if dtype == "float64" else ["plain", "half"]
