"""The command among the kinds of call: ``losswire eval``, whose numbers are compared with the twin too."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trials.cases import Case
from trials.soak.ways import Reach

ROWS, CLASSES = 300, 50
COMMAND = "from losswire_client.cli import main; main()"
SECONDS = 120.0  # that it may take, with all its retries


class Command:
    """A file, and the command that evaluates it. Close it at the end.

    Args:
        seed: Of the file's numbers.

    Attributes:
        case: What is in the file.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x, target = rng.standard_normal((ROWS, CLASSES), np.float32), rng.integers(CLASSES, size=ROWS)
        self.case = Case("cross_entropy", x, target, {"reduction": "mean"})
        self._folder = TemporaryDirectory(prefix="losswire-soak-")
        self._file = Path(self._folder.name) / "batch.npz"
        np.savez(self._file, logits=x, targets=target)

    def end(self, reach: Reach) -> str:
        """How the command ended: answered, or its exit code and what it said.

        Raises:
            WrongAnswerError: A number is not the twin's.
        """
        command = [sys.executable, "-c", COMMAND, "eval", str(self._file), "--json"]
        environment = {**os.environ, **reach.variables()}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
        if ran.returncode:
            return f"exit code {ran.returncode}, {ran.stderr.strip()}"
        self.case.check_numbers(json.loads(ran.stdout)["total"])
        return "answered"

    def close(self) -> None:
        self._folder.cleanup()
