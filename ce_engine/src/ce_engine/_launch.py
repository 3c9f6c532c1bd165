"""Evaluates one slab, or several of the same kind as one."""

from collections.abc import Sequence

from ce_engine import _cpu
from ce_engine._merge import merge, split
from ce_engine._slab import RowResults, Slab


def launch(slab: Slab) -> RowResults:
    return _cpu.evaluate(slab.kind, slab.input, slab.target, slab.rows, slab.row_count)


def launch_merged(slabs: Sequence[Slab]) -> list[RowResults]:
    if len(slabs) == 1:
        return [launch(slabs[0])]
    row_count = sum(slab.row_count for slab in slabs)
    results = _cpu.evaluate(slabs[0].kind, *merge(slabs), row_count)
    return list(split(results, slabs))
