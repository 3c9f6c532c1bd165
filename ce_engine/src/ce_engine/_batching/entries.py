"""Slabs that wait for the engine: entries, and the line of each caller."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ce_engine._kernel_rows import Kind
from ce_engine._slab import Slab

if TYPE_CHECKING:
    from ce_engine._batching.parts import Parted

SLAB_WORK = 8192  # elements that take as long as what each slab costs, whatever its size
MULTIPLICATIONS = 4  # of a product that take as long as an element: 0.035 and 0.14 ns on a core of an EPYC with AVX-512


@dataclass(eq=False)
class Entry:
    """A slab that waits. Times are by ``time.monotonic``.

    Attributes:
        slab: Until the entry is dropped.
        then: Makes the future's value from the slab's result and the seconds that it took.
        size: Rows that it counts for in its queue.
        kind: Of the slab, as the next three.
        rows: How many it has.
        nbytes: Of its input.
        tile_rows: The most rows that are evaluated at a time through its head; 0 without one.
        work: How much of the engine it takes, in elements of which a loss alone is computed.
        whole: The slab that it is a part of; None if it is whole.
        is_first: Whether it is the part that begins first.
        alike: Where it waits with others of its kind; set by its queue.
    """

    slab: Slab
    caller: Hashable
    deadline: float | None
    then: Callable[[Any, float], Any] | None = None
    future: "Future[Any]" = field(default_factory=Future)
    arrival: float = field(default_factory=time.monotonic)
    size: int = 0
    whole: "Parted | None" = None
    is_first: bool = True
    alike: "Alike" = field(init=False)

    def __post_init__(self) -> None:
        slab = self.slab
        self.kind, self.rows, self.nbytes = slab.kind, slab.row_count, slab.nbytes
        self.tile_rows = self.kind.tile_rows
        self.work = _work(self.kind, self.rows, slab.input.numel())

    def drop(self) -> None:
        """Frees the slab, and all that its result would have needed. Whoever took the entry finds it cancelled."""
        self.then = None
        del self.slab


def _work(kind: Kind, rows: int, elements: int) -> int:
    if kind.heads:
        return SLAB_WORK + rows * kind.class_count * (_results(kind) + _products(kind) // MULTIPLICATIONS)
    if kind.grad_dtype is None and not _outputs(kind) and kind.divergence is None:
        return SLAB_WORK + (rows if kind.loss == "nll_loss" else elements)
    return SLAB_WORK + elements * _results(kind)


def _results(kind: Kind) -> int:
    read = 1 if kind.divergence is None else 2  # distributions
    return read + (kind.grad_dtype is not None) + _outputs(kind)


def _outputs(kind: Kind) -> int:
    return len(kind.outputs) + (kind.top_k > 0)


def _products(kind: Kind) -> int:
    """Multiplications with heads' weights, for each logit."""
    back = 0 if kind.head is None or kind.grad_dtype is None else kind.head.width
    return sum(head.width for head in kind.heads) + back


class Alike:
    """The lines with slabs of one kind, in turn. It equals only itself, since comparing kinds takes long."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.lines: OrderedDict[Line, None] = OrderedDict()


class Line:
    """The waiting entries of one caller: kinds in the order of their turns, and each kind's entries as they came.

    Attributes:
        caller: Whose line it is.
        rows: Of all entries.
        start: When its first entry may begin, in the work that was done for others: see `Turns`.
        rank: Its latest place among lines.
    """

    def __init__(self, caller: Hashable) -> None:
        self.caller = caller
        self.kinds: OrderedDict[Alike, OrderedDict[Entry, None]] = OrderedDict()
        self.rows = self.start = self.rank = 0

    def add(self, entry: Entry) -> None:
        entries = self.kinds.get(entry.alike)
        if entries is None:
            entries = self.kinds[entry.alike] = OrderedDict()
            entry.alike.lines[self] = None
        entries[entry] = None
        self.rows += entry.size

    def remove(self, entry: Entry) -> None:
        alike = entry.alike
        entries = self.kinds[alike]
        del entries[entry]
        self.rows -= entry.size
        if not entries:
            del self.kinds[alike], alike.lines[self]

    def first(self) -> Entry:
        """The oldest entry of the kind whose turn it is."""
        return next(iter(next(iter(self.kinds.values()))))

    def first_of(self, alike: Alike) -> Entry:
        """The oldest entry of a kind of which some wait."""
        return next(iter(self.kinds[alike]))
