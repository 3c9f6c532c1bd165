"""Names of arrays: which array is meant, and what kind of input it holds."""

import re
from collections import defaultdict
from collections.abc import Collection
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import islice

from losswire_client._readers._columns import ArrayFile

INPUT_NAMES = ("logits", "input", "scores", "log_probabilities", "log_probs", "logprobs", "probabilities", "probs")
HIDDEN_NAMES = ("hidden_states", "hidden", "last_hidden_state", "input")
TOP_NAMES = ("top_log_probabilities", "top_log_probs", "top_logprobs", "log_probabilities", "log_probs", "logprobs")
CLASS_NAMES = ("top_classes", "classes", "top_tokens", "token_ids", "tokens", "indices")
TARGET_NAMES = ("target", "targets", "label", "labels", "y")
PROBABILITIES = re.compile(r"(?<![a-z])(log[^a-z]*|l)?(prob(s|as?|ability|abilities)?|softmax|sigmoids?)(?![a-z])")
LOGITS = re.compile(r"(?<![a-z])logits?(?![a-z])")
SHOWN = 20  # how many names an error shows


def choose(file: ArrayFile, name: str | None, usual: Collection[str], option: str) -> str:
    """The array of that name, or else the only array with a usual name. Two such arrays are an error."""
    found = [each for each in ([name] if name else usual) if each in file.names]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"has both {found[0]} and {found[1]}: choose with {option}")
    there = file.names if file.stored_names is None else file.stored_names
    advice = "" if name else _advice(there, usual)
    raise ValueError(
        f"has no array named {name or ' or '.join(usual)}, but {listed(there)}: choose with {option}{advice}"
    )


def _advice(there: Collection[str], usual: Collection[str]) -> str:
    """What is missing, where a file of something else than logits was to have logits."""
    if usual is not INPUT_NAMES:
        return ""
    of = {HIDDEN_NAMES: "hidden states need a head", TOP_NAMES: "log-probabilities of some classes need a tail"}
    found = [(name, need) for names, need in of.items() for name in names if name in there]
    return f"; if {found[0][0]} are what the name says, {found[0][1]}" if found else ""


def numbered(names: Collection[str]) -> dict[str, list[str]]:
    """Columns that are numbered from 0 on, in the order of their numbers, by the text before the numbers."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        if match := re.fullmatch(r"(.+?)[_.]?(\d+)", name):
            found[match[1]][int(match[2])] = name
    return {
        stem: [columns[i] for i in range(len(columns))]
        for stem, columns in found.items()
        if stem not in names and columns.keys() == set(range(len(columns)))
    }


def class_columns(names: Collection[str], pattern: str, others: Collection[str | None]) -> list[str]:
    """The columns that a pattern such as ``c*`` matches, in the order of their numbers: one for each class, from 0 on.

    Raises:
        ValueError: No column matches, a column has no number, or a number is missing or occurs twice.
    """
    found: dict[int, str] = {}
    for name in (name for name in names if fnmatchcase(name, pattern) and name not in others):
        stem, number, rest = re.findall(r"^(.*?)(\d*)(\D*)$", name)[0]
        other = found.get(int(number or 0), next(iter(found.values()), name))
        if not number or int(number) in found or not re.fullmatch(rf"{re.escape(stem)}\d+{re.escape(rest)}", other):
            raise ValueError(f"--input-columns {pattern} stands for both {other} and {name}: expected c0, c1 and so on")
        found[int(number)] = name
    if not found:
        raise ValueError(f"has no columns like {pattern}, but {listed(names)}: choose with --input-columns")
    if max(found) >= len(found):
        missing = next(i for i in range(len(found)) if i not in found)
        raise ValueError(f"--input-columns {pattern} stands for {len(found)} columns, but none has number {missing}")
    return [found[i] for i in range(len(found))]


def listed(names: Collection[str]) -> str:
    """A list of names for an error. If there are many, only some are shown, but none is cut."""
    shown = ", ".join(islice(names, SHOWN)) or "nothing"
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


class Kind(StrEnum):
    """The kinds of input that losses take."""

    LOGITS = "logits"
    LOG_PROBABILITIES = "log_probabilities"
    PROBABILITIES = "probabilities"


def kind_named(name: str) -> Kind | None:
    """The kind of input in an array of that name, as in ``test_probs``; None if the name is open, as ``scores``."""
    if found := PROBABILITIES.search(name.lower()):
        return Kind.LOG_PROBABILITIES if found[1] else Kind.PROBABILITIES
    return Kind.LOGITS if LOGITS.search(name.lower()) else None
