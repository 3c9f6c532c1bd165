"""Estimates from its form how long an evaluation takes: good enough to choose a thread, not to promise a time."""

import math
from collections.abc import Sequence

import ce_engine
from losswire import v1
from losswire.fields import field_of
from losswire.losses import heads_of, loss_of
from losswire.tensors import MAX_ELEMENTS
from losswire_server.heads.absent import NO_HEADS, UsesHeads

# Measured: some 10 ns an element, 400 us a group, and 25 us a request in it. Groups and requests count for a sixth:
# they are mostly Python, which holds the interpreter's lock in any thread, so that handing them over would gain little.
GROUP_SECONDS, REQUEST_SECONDS, ELEMENT_SECONDS = 65e-6, 3.3e-6, 10e-9
PRODUCTS_AN_ELEMENT = 200  # of a hidden state and a head: some 0.05 ns each, with the way back
TARGET_SECONDS = 3e-9  # copied out of shared memory, and compared to their bounds
NAMED_TARGETS = 15  # as long as each class that a target names takes to be checked: those of a row are sorted
NAMED_ELEMENTS = 5  # the same in elements
BYTE_SECONDS = 0.5e-9  # copied to a fresh buffer
ROW_SECONDS = 1e-9  # added up in float64


def seconds(groups: int, requests: int, elements: int) -> float:
    """Seconds that so many requests in so many groups probably take. A request that comes alone is a group.

    Args:
        groups: How many there are.
        requests: How many are in all groups together.
        elements: How many are evaluated for all requests together: see `element_count_of`.
    """
    return groups * GROUP_SECONDS + requests * REQUEST_SECONDS + elements * ELEMENT_SECONDS


def planning_seconds(targets: int) -> float:
    """Seconds that checking so many elements of targets probably takes, wherever they lie."""
    return targets * TARGET_SECONDS


def target_count(request: v1.EvaluateRequest) -> int:
    """The elements of targets that are checked, for `planning_seconds`, of a request whose shapes may be wrong."""
    return element_count(request.target) + NAMED_TARGETS * _named_count(request)


def adding_seconds(rows: int) -> float:
    """Seconds that adding up the losses of so many rows probably takes."""
    return rows * ROW_SECONDS


def copying_seconds(size: int) -> float:
    """Seconds that writing a message of so many bytes probably takes."""
    return size * BYTE_SECONDS


def element_count(tensor: v1.Tensor) -> int:
    """The elements of a tensor whose shape may be wrong. Rows without classes count: they take time too."""
    return max(0, min(math.prod(filter(None, tensor.shape)), MAX_ELEMENTS))


def element_count_of(request: v1.EvaluateRequest, held: UsesHeads = NO_HEADS) -> int:
    """The elements that are evaluated for a request, which may be wrong: of its input, or of logits that a head makes.

    A divergence has as many again, and the products of heads count as they take time, as do the classes that targets
    name. It is 0 if a head is not held: the request is refused at once.

    Raises:
        NotPermittedError: The caller may not use the alias of a head.
    """
    tensors = {"head": request.input}
    if loss_of(request.spec) == "kl_divergence":
        tensors["target_head"] = request.target
    sizes: dict[str, Sequence[int]] = {}
    for argument, name in heads_of(request.spec).items():
        found = held.find(name, field_of(argument, request.spec))
        if found is None:
            return 0
        sizes[argument] = found.form.weight.shape
    counts = [_element_count(element_count(tensor), sizes.get(argument)) for argument, tensor in tensors.items()]
    return sum(counts) + NAMED_ELEMENTS * _named_count(request)


def elements_of_slab(slab: ce_engine.Slab) -> int:
    """As `element_count_of`, for a slab."""
    elements, divergence = _element_count(slab.input.numel(), _size(slab.kind.head)), slab.kind.divergence
    if divergence is None or slab.target is None:
        return elements
    return elements + _element_count(slab.target.numel(), _size(divergence.target_head))


def _named_count(request: v1.EvaluateRequest) -> int:
    return element_count(request.target_classes) if request.HasField("target_classes") else 0


def _size(head: ce_engine.Head | None) -> Sequence[int] | None:
    return None if head is None else (head.class_count, head.width)


def _element_count(size: int, head: Sequence[int] | None) -> int:
    """For an input, or a target, of so many elements, and the shape of the head that makes logits of them."""
    if head is None:
        return size
    classes, width = head
    products = min(size * classes, MAX_ELEMENTS)
    return products // width + products // PRODUCTS_AN_ELEMENT
