"""Requests that are planned and not yet evaluated."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ce_engine
from losswire_server.requests.ends import End


class Planned(NamedTuple):
    """A slab, and what comes of it. It does not hold the message that it was read from.

    Attributes:
        slab: For the engine.
        end: Writes the answers to the slab's requests from the slab's result.
        failed: What is to be done if the evaluation has failed: other steps, or an error to raise.
    """

    slab: ce_engine.Slab
    end: Callable[[Any], End]
    failed: "Callable[[Exception], Iterable[Step]]"

    def at_once(self) -> End:
        """Evaluates the slab in this thread."""
        return self.end(ce_engine.evaluate(self.slab))


Step = Planned | End  # requests that are wrong end when they are planned
