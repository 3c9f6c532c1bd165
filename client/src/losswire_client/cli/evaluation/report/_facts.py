"""The numbers of evaluated files, with the names of the SDK."""

from dataclasses import asdict
from typing import Any

import numpy as np

from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._run import FileOutcome, Outcome
from losswire_client.cli.evaluation.tallies._bytes import bits_per_byte
from losswire_client.cli.evaluation.tallies._classes import ClassSums, LabelSums
from losswire_client.cli.evaluation.tallies._sums import quotient
from losswire_client.cli.evaluation.tallies._tallies import Tallies

Facts = dict[str, Any]


def as_json(outcome: Outcome, plan: Plan) -> Facts:
    """All results. If a file failed, it is listed in the errors, and there is no total."""
    return {
        "loss": plan.loss,
        "files": [_of_file(file, plan) for file in outcome.files],
        "total": _with_classes(outcome.total, plan) if outcome.total else None,
        "warnings": [{"file": str(file.path), "warning": text} for file in outcome.files for text in file.warnings],
        "errors": [{"file": str(path), "error": str(error)} for path, error in outcome.failures],
    }


def facts(tallies: Tallies, plan: Plan) -> Facts:
    """The numbers of all rows together."""
    sums = tallies.sums
    with np.errstate(over="ignore"):
        perplexity = {"perplexity": float(np.exp(sums.loss))} if plan.has_perplexity else {}
    return {
        "loss": sums.loss,
        "standard_error": tallies.standard_error,
        **perplexity,
        **_of_bytes(tallies),
        "accuracy": sums.accuracy,
        **asdict(sums),
        "nonfinite_count": tallies.nonfinite.count,
        "first_nonfinite": [
            {"file": str(file), "row": row, "position": position, "loss": loss}
            for file, (row, *position), loss in tallies.nonfinite.first
        ],
        "seconds": tallies.seconds,
        "rows_per_second": quotient(sums.row_count + sums.ignored_count, tallies.seconds),
    }


def class_facts(classes: ClassSums) -> list[Facts]:
    """The numbers of the rows of each class that occurs."""
    columns = {
        "row_count": classes.row_count,
        **({"positive_count": classes.positive_count} if isinstance(classes, LabelSums) else {}),
        "loss": classes.loss,
        "loss_sum": classes.loss_sum,
        "recall": classes.recall,
        "correct_count": classes.correct_count,
    }
    occurring = np.flatnonzero(classes.row_count).tolist()
    return [{"class": i, **{name: column[i].item() for name, column in columns.items()}} for i in occurring]


def _of_file(file: FileOutcome, plan: Plan) -> Facts:
    source = {"file": str(file.path), "input": file.input_name, "logarithm": file.with_logarithm}
    return {**source, **_with_classes(file.tallies, plan)}


def _of_bytes(tallies: Tallies) -> Facts:
    if tallies.byte_count is None:
        return {}
    return {
        "bits_per_byte": bits_per_byte(tallies.sums, tallies.byte_count),
        "byte_count": tallies.byte_count,
    }


def _with_classes(tallies: Tallies, plan: Plan) -> Facts:
    return facts(tallies, plan) | ({"classes": class_facts(tallies.classes)} if tallies.classes else {})
