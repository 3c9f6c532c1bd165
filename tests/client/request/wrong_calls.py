"""Right arguments of each loss, and all the ways in which they can be wrong."""

from typing import Any

import ml_dtypes
import numpy as np

from losswire_client import Head

LOGITS = np.array([[0.3, 0.5, -1.2], [-2.2, -1.9, 1.1]], np.float32)
PROBABILITIES = np.array([[0.3, 0.5, 0.0], [1.0, 0.25, 0.75]], np.float32)
POSITIVE = np.array([[1, 0, 1], [0, 0, 1]], np.float32)
ONE = np.ones((), np.float32)
HIDDEN = np.array([[0.3, 0.5, -1.2, 0.1], [-2.2, -1.9, 1.1, 0.7]], np.float32)
SOME = np.array([[0, 1, 2], [2, 1, 0]])
HEAD = Head(np.arange(12, dtype=np.float32).reshape(3, 4) / 10)

RIGHT: dict[str, dict[str, Any]] = {
    "cross_entropy": {"input": LOGITS, "target": np.array([0, 2])},
    "nll_loss": {"input": LOGITS, "target": np.array([0, 2])},
    "binary_cross_entropy": {"input": PROBABILITIES, "target": POSITIVE},
    "binary_cross_entropy_with_logits": {"input": LOGITS, "target": POSITIVE},
    "linear_cross_entropy": {"input": HIDDEN, "head": HEAD, "target": np.array([0, 2])},
    "kl_divergence": {"input": LOGITS, "target": LOGITS[::-1]},
}


def factors(argument: str, **always: Any) -> dict[str, dict[str, Any]]:
    """Ways in which an array of numbers for rows, classes or elements can be wrong."""
    wrong = {
        "of another shape": np.ones(7, np.float32),
        "of too many dimensions": np.ones((2, 2, 3, 1), np.float32),
        "of no elements": np.ones(0, np.float32),
        "of integers": np.ones((2, 3), np.int64),
        "of the other byte order": np.ones(2, ">i2"),
        "of booleans": np.ones((), bool),
    }
    return {f"{argument} {how}": {argument: array, **always} for how, array in wrong.items()}


OF_ALL: dict[str, dict[str, Any]] = {
    "series with a space": {"series": "a b"},
    "series of other letters": {"series": "é"},
    "series too long": {"series": "a" * 65},
    "series with a line's end": {"series": "a\n"},
    "divisor zero": {"divisor": 0.0},
    "divisor negative": {"divisor": -1.0},
    "divisor subnormal": {"divisor": 1e-320},
    "divisor immense": {"divisor": 1e308},
    "divisor NaN": {"divisor": float("nan")},
    "divisor of a sum": {"divisor": 2.0, "reduction": "sum"},
    "top_k negative": {"top_k": -1},
    "top_k of too many": {"top_k": 257},
    "outputs twice": {"outputs": ["predictions", "predictions"]},
    "input of integers": {"input": np.ones((2, 3), np.int64)},
    "input of booleans": {"input": np.ones((2, 3), bool)},
    **factors("sample_weight"),
    **factors("grad_output", grad=True),
    "grad_output of rows": {"grad_output": np.ones(2, np.float32), "grad": True},
    "grad_output of a sum": {"grad_output": np.ones((1,)), "grad": True, "reduction": "sum"},
    "grad_output of no row": {"grad_output": ONE, "grad": True, "reduction": "none"},
}
OF_CLASSES: dict[str, dict[str, Any]] = {
    "input a scalar": {"input": ONE},
    "input of another shape": {"input": np.ones((2, 3, 4), np.float32)},
    "top_k of more than the classes": {"top_k": 4},
    "input of one row": {"input": np.ones(3, np.float32)},
    "target of booleans": {"target": np.array([True, False])},
    "target too short": {"target": np.array([0])},
    "target with a dimension more": {"target": np.array([[0], [2]])},
    **factors("weight"),
}
OF_SMOOTHING: dict[str, dict[str, Any]] = {
    f"label_smoothing {value}": {"label_smoothing": value} for value in (1.5, -0.1, 2, float("nan"), float("inf"))
}
OF_PROBABILITY_TARGETS: dict[str, dict[str, Any]] = {
    "outputs of targets beside probabilities": {"target": PROBABILITIES, "outputs": ["target_ranks"]},
    "probabilities of another shape": {"target": np.ones((2, 4), np.float32)},
    "probabilities of another dtype and shape": {"target": np.ones(2, ml_dtypes.bfloat16)},
    "ignore_index beside probabilities": {"target": PROBABILITIES, "ignore_index": 0},
    "weighting beside probabilities": {"target": PROBABILITIES, "weight": "balanced"},
}
OF_Z_LOSS: dict[str, dict[str, Any]] = {
    f"z_loss {value}": {"z_loss": value} for value in (-0.1, float("nan"), float("inf"))
}
OF_HEADS: dict[str, dict[str, Any]] = {
    "no head": {"head": ""},
    "input a scalar": {"input": ONE},
    "target of booleans": {"target": np.array([True, False])},
    "target too short": {"target": np.array([0])},
    "target with a dimension more": {"target": np.array([[0], [2]])},
    "probabilities of other rows": {"target": np.ones((1, 3), np.float32)},
    "ignore_index beside probabilities": {"target": PROBABILITIES, "ignore_index": 0},
    "weighting beside probabilities": {"target": PROBABILITIES, "weight": "balanced"},
    "weight a scalar": {"weight": ONE},
    "weight of two dimensions": {"weight": np.ones((1, 3), np.float32)},
    "weight of integers": {"weight": np.ones(3, np.int64)},
}
OF_DIVERGENCES: dict[str, dict[str, Any]] = {
    "input a scalar": {"input": ONE},
    "target of integers": {"target": np.array([[0, 1, 2], [0, 1, 2]])},
    "target of other classes": {"target": LOGITS[:, :2]},
    "target of other rows": {"target": LOGITS[:1]},
    "beta of another divergence": {"beta": 0.5},
    "beta one": {"divergence": "jensen_shannon", "beta": 1.0},
    "beta subnormal": {"divergence": "jensen_shannon", "beta": 1e-320},
    "beta NaN": {"divergence": "jensen_shannon", "beta": float("nan")},
    "temperature 0": {"temperature": 0.0},
    "temperature subnormal": {"temperature": 1e-320},
    "temperature immense": {"temperature": 1e308},
    "temperature infinite": {"temperature": float("inf")},
    "temperature with a tail": {"temperature": 2.0, "target_classes": SOME, "tail": "one_bin"},
    "tail without classes": {"tail": "drop"},
    "target_classes without a tail": {"target_classes": SOME},
    "target_classes of floats": {"target_classes": LOGITS, "tail": "drop"},
    "target_classes of another shape": {"target_classes": SOME[:, :2], "tail": "drop"},
    "target_head beside classes": {"target_head": HEAD, "target": HIDDEN, "target_classes": SOME, "tail": "drop"},
    "head of other rows": {"head": HEAD, "input": HIDDEN[0]},
    "labels of floats": {"labels": np.ones(2, np.float32)},
    "labels too short": {"labels": np.array([0])},
    "ignore_index without labels": {"ignore_index": 1},
    "outputs of labels without them": {"outputs": ["target_ranks"]},
}
OF_INDEX_TARGETS: dict[str, dict[str, Any]] = {
    "target of floats": {"target": np.ones(2, np.float32)},
    "target of probabilities": {"target": PROBABILITIES},
}
OF_ELEMENTS: dict[str, dict[str, Any]] = {
    "outputs with lse": {"outputs": ["predictions", "lse"]},
    "outputs of targets": {"outputs": ["target_log_probabilities"]},
    "top_k of a binary loss": {"top_k": 1},
    "target of integers": {"target": np.ones((2, 3), np.int64)},
    "target of another shape": {"target": np.ones((3, 2), np.float32)},
    "target that would broadcast": {"target": np.ones(3, np.float32)},
    **factors("weight"),
}
WRONG_FORMS: dict[str, dict[str, dict[str, Any]]] = {  # by losses
    "cross_entropy": OF_ALL | OF_CLASSES | OF_SMOOTHING | OF_Z_LOSS | OF_PROBABILITY_TARGETS,
    "nll_loss": OF_ALL | OF_CLASSES | OF_INDEX_TARGETS,
    "binary_cross_entropy": OF_ALL | OF_ELEMENTS,
    "binary_cross_entropy_with_logits": OF_ALL | OF_ELEMENTS | factors("pos_weight"),
    "linear_cross_entropy": OF_ALL | OF_SMOOTHING | OF_Z_LOSS | OF_HEADS,
    "kl_divergence": OF_ALL | OF_DIVERGENCES,
}

CLASSES: dict[str, dict[str, Any]] = {
    "no classes": {"input": np.ones((2, 0), np.float32)},
    "class too large": {"target": np.array([0, 3])},
    "class of the other byte order too large": {"target": np.array([0, 3], ">i4")},
    "class negative": {"target": np.array([-1, 0], np.int16)},
    "class too large for one byte": {"target": np.array([0, 255], np.uint8)},
    "class too large of a dtype that does not travel": {"target": np.array([0, 3], np.uint16)},
    "second class wrong beside an ignored one": {"target": np.array([7, 8]), "ignore_index": 7},
}
OF_HEADS_HELD: dict[str, dict[str, Any]] = {  # what depends on the head is left to the server too
    "hidden states of another width": {"input": LOGITS},
    "hidden states of another dtype": {"input": HIDDEN.astype(np.float64)},
    "class too large": {"target": np.array([0, 3])},
    "class negative": {"target": np.array([-1, 0], np.int16)},
    "probabilities of other classes": {"target": np.ones((2, 4), np.float32)},
    "weight of other classes": {"weight": np.ones(4, np.float32)},
    "top_k of more than the classes": {"top_k": 4},
}
OF_CLASSES_NAMED: dict[str, dict[str, Any]] = {
    "named class too large": {"target_classes": SOME + 1, "tail": "drop"},
    "named class twice": {"target_classes": SOME * 0, "tail": "drop"},
    "label too large": {"labels": np.array([0, 3])},
    "target_head of another width": {"target_head": HEAD},
}
LABELS: dict[str, dict[str, Any]] = {
    "target half": {"target": np.array([[1, 0, 0.5], [0, 0, 1]], np.float32), "weight": "balanced"},
    "target NaN": {"target": np.full((2, 3), np.nan, ml_dtypes.bfloat16), "weight": "complement"},
}
IN_UNIT_INTERVAL: dict[str, dict[str, Any]] = {
    "input above one": {"input": np.array([[0, 1, np.nextafter(np.float32(1), np.float32(2))], [0, 0, 0]], np.float32)},
    "input negative": {"input": np.array([[0, 1, -5e-324], [-0.0, 0, 0]], np.float64)},
    "input NaN": {"input": np.full((2, 3), np.nan, np.float16)},
    "input infinite": {"input": np.full((2, 3), np.inf, ml_dtypes.bfloat16)},
    "input of the other byte order above one": {"input": np.full((2, 3), 1.5, ">f4")},
    "input above one in its order": {"input": np.array([[0, 0], [0, 3], [2, 0]], np.float32).T},
    "target above one": {"target": POSITIVE * 2},
    "target negative": {"target": POSITIVE - 1},
}
WRONG_NUMBERS: dict[str, dict[str, dict[str, Any]]] = {
    "cross_entropy": CLASSES,
    "nll_loss": CLASSES,
    "binary_cross_entropy": LABELS | IN_UNIT_INTERVAL,
    "binary_cross_entropy_with_logits": LABELS,
    "linear_cross_entropy": OF_HEADS_HELD,
    "kl_divergence": OF_CLASSES_NAMED,
}
WRONG = {loss: WRONG_FORMS[loss] | WRONG_NUMBERS[loss] for loss in RIGHT}
