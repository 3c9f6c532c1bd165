"""What an array holds, going by its name."""

import re
from enum import StrEnum

PROBABILITIES = re.compile(r"(?<![a-z])(log[^a-z]*|l)?(prob(s|as?|ability|abilities)?|softmax|sigmoids?)(?![a-z])")
LOGITS = re.compile(r"(?<![a-z])logits?(?![a-z])")


class Kind(StrEnum):
    """What a loss may take as its input."""

    LOGITS = "logits"
    LOG_PROBABILITIES = "log_probabilities"
    PROBABILITIES = "probabilities"


def kind_named(name: str) -> Kind | None:
    """What an array of that name holds, as in ``test_probs``; None if the name leaves it open, as ``scores`` does."""
    if found := PROBABILITIES.search(name.lower()):
        return Kind.LOG_PROBABILITIES if found[1] else Kind.PROBABILITIES
    return Kind.LOGITS if LOGITS.search(name.lower()) else None
