"""Writes base files as llama.cpp does."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FLOOR = 16  # logits are raised to the largest one less this


def write_base(path: Path, logits: npt.NDArray[Any], tokens: npt.NDArray[Any]) -> Path:
    """Logits of shape (contexts, positions in the second half of a context, classes), tokens (contexts, positions)."""
    contexts, rows, classes = logits.shape
    header = struct.pack("<8s3i", b"_logits_", tokens.shape[1], classes, contexts)
    assert rows == tokens.shape[1] - 1 - tokens.shape[1] // 2
    padding = np.zeros(classes % 2, "<u2").tobytes()
    with path.open("wb") as file:
        file.write(header + tokens.astype("<i4").tobytes())
        for row in logits.reshape(-1, classes).astype(np.float64):
            scale, least, steps = _row(row)
            file.write(struct.pack("<2f", scale, least) + steps.astype("<u2").tobytes() + padding)
    return path


def _row(logits: npt.NDArray[np.float64]) -> tuple[float, float, npt.NDArray[Any]]:
    most = logits.max()
    least = max(logits.min(), most - FLOOR)
    scale = (most - least) / 65535
    steps = np.rint((np.maximum(logits, least) - least) / scale) if scale else np.zeros(len(logits))
    return scale, least - most - np.log(np.exp(logits - most).sum()), steps
