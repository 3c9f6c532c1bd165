"""Heads for tests, as messages and as the engine has them."""

import torch

import ce_engine
from losswire import v1
from losswire.heads.content import digest, tensors_of, without_elements
from losswire_server.heads.building import build, bytes_of, form_of
from losswire_server.heads.held import Held
from losswire_server.heads.observer import Outcome
from losswire_server.heads.registry import Heads

CLASSES, WIDTH = 5, 3


class Told:
    """Remembers what happened to heads."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def came(self, outcome: Outcome) -> None:
        self.events.append(outcome)

    def evicted(self) -> None:
        self.events.append("evicted")

    def missed(self) -> None:
        self.events.append("missed")


def a_message(seed: int = 0, *, dtype: torch.dtype = torch.float32, norm: str = "", bias: bool = False) -> v1.Head:
    """A head with its elements."""
    random, head = torch.Generator().manual_seed(seed), v1.Head()

    def fill(tensor: v1.Tensor, *shape: int) -> None:
        made = torch.randn(shape, generator=random).to(dtype)
        tensor.CopyFrom(form_of(made))
        tensor.data = bytes(bytes_of(made))

    fill(head.weight, CLASSES, WIDTH)
    if bias:
        fill(head.bias, CLASSES)
    if norm:
        head.norm.kind, head.norm.eps = v1.NormKind.Value(f"NORM_KIND_{norm.upper()}"), 1e-5
        fill(head.norm.weight, WIDTH)
        if norm == "layer":
            fill(head.norm.bias, WIDTH)
    return head


def content_of(head: v1.Head) -> bytes:
    """The elements as they travel."""
    return b"".join(tensor.data for tensor in tensors_of(head).values())


def a_head(head: v1.Head) -> ce_engine.Head:
    """The head of a message, for the engine."""
    tensors = {
        name: torch.frombuffer(bytearray(tensor.data), dtype=_DTYPES[tensor.dtype]).reshape(tuple(tensor.shape))
        for name, tensor in tensors_of(head).items()
    }
    return build(without_elements(head), tensors)


def add(heads: Heads, seed: int = 0, *, permanent: bool = False, alias: str = "") -> Held:
    """Adds a head, which nobody uses."""
    head = a_message(seed)
    aliases = [alias] if alias else []
    return heads.add(digest(head), without_elements(head), a_head(head), permanent=permanent, aliases=aliases)


_DTYPES = {
    v1.Dtype.DTYPE_FLOAT64: torch.float64,
    v1.Dtype.DTYPE_FLOAT32: torch.float32,
    v1.Dtype.DTYPE_FLOAT16: torch.float16,
    v1.Dtype.DTYPE_BFLOAT16: torch.bfloat16,
}
