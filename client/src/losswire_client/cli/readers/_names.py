"""Which arrays of a file are meant."""

from collections.abc import Collection
from textwrap import shorten

INPUT_NAMES = ("logits", "input", "scores", "log_probabilities", "log_probs", "probabilities", "probs")
TARGET_NAMES = ("target", "targets", "label", "labels", "y")


def choose(there: Collection[str], name: str | None, usual: Collection[str], option: str) -> str:
    """The array of that name, or the only one of a usual name: of two, nobody else can know which is meant."""
    found = [each for each in ([name] if name else usual) if each in there]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"has both {found[0]} and {found[1]}: choose with {option}")
    listed = shorten(", ".join(there), 200, placeholder=" ...") or "nothing"
    raise ValueError(f"has no array named {name or ' or '.join(usual)}, but {listed}: choose with {option}")
