"""Few cases instead of a full product. Imports nothing, so that tests/gpu can use it."""

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any


def pairs(*axes: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Cases in which each value of an axis meets each value of every other axis at least once.

    Most faults show for one value or for two together, and a full product tries the same two many times.
    """
    values = [list(axis) for axis in axes]
    candidates = [tuple(enumerate(places)) for places in product(*(range(len(axis)) for axis in values))]
    unseen = {pair for candidate in candidates for pair in combinations(candidate, 2)}
    cases = []
    while unseen:
        best = max(candidates, key=lambda candidate: sum(pair in unseen for pair in combinations(candidate, 2)))
        unseen.difference_update(combinations(best, 2))
        cases.append(tuple(values[axis][place] for axis, place in best))
    return cases
