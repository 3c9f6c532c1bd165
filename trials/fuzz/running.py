"""Runs libFuzzer in a process of its own, and reads what it says."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trials.fuzz import corpus

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "fuzz"
MAX_INPUT_BYTES = 32_768
SLOWEST_SECONDS = 30  # of an input; the targets' own bound is far below
START_SECONDS = 120.0
MEMORY_MB = 4096
MERGE_SECONDS = 600.0


class Run(NamedTuple):
    """What came of fuzzing one target.

    Attributes:
        inputs: How many were tried.
        coverage: Edges of Python code that were reached, as libFuzzer counts them.
        features: These, told apart by how often they were reached.
        corpus: Inputs that reached something of their own.
        finding: The file with the input that is a finding, if there is one.
        problem: What is wrong with it, or with the run.
    """

    inputs: int
    coverage: int
    features: int
    corpus: int
    finding: Path | None
    problem: str


def fuzz(target: str, seconds: float, seed: int) -> Run:
    """Fuzzes a target for so many seconds, or until the first finding."""
    inputs, findings = OUT / "corpus" / target, OUT / "findings" / target
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    corpus.spread(target, inputs)
    flags = (f"-max_total_time={seconds:.0f}", f"-seed={seed}", f"-artifact_prefix={findings}/", str(inputs))
    said = _run(target, flags, seconds + START_SECONDS + SLOWEST_SECONDS)
    new = sorted(set(findings.iterdir()) - before)
    return Run(*_numbers(said), new[0] if new else None, _problem(said))


def minimise(target: str) -> int:
    """Puts into the corpus the fewest short inputs that reach all that short ones reach. Returns how many they are."""
    short, least = OUT / "short" / target, OUT / "least" / target
    for folder in (short, least):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    corpus.write(corpus.gathered(OUT / "corpus" / target), short)
    _run(target, ("-merge=1", str(least), str(short)), MERGE_SECONDS)
    inputs = corpus.gathered(least)
    corpus.save(target, inputs)
    return len(inputs)


def _run(target: str, flags: Sequence[str], seconds: float) -> str:
    common = (
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={SLOWEST_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-print_final_stats=1",
    )
    command = [str(_program(target)), *common, *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=seconds)
    return f"{done.stdout}\n{done.stderr}\nexit status {done.returncode}"


def _program(target: str) -> Path:
    """A program that fuzzes a target. libFuzzer starts itself again to merge, by the name that it was started by."""
    path = OUT / f"fuzz-{target}"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join([sys.executable, "-m", "trials.fuzz.worker", str(path), target])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path


def _numbers(said: str) -> tuple[int, int, int, int]:
    tried = re.findall(r"^#(\d+)\s", said, re.MULTILINE) + re.findall(r"executed_units:\s+(\d+)", said)
    reached = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", said)
    coverage, features, inputs = map(int, reached[-1]) if reached else (0, 0, 0)
    return max(map(int, tried), default=0), coverage, features, inputs


def _problem(said: str) -> str:
    """The exception, or else libFuzzer's own complaint; empty after a run without findings."""
    lines = re.findall(
        r"^(?:[\w.]*Finding[\w.]*Error|==\d+== ?ERROR|[\w.]+(?:Error|Exception)): .*$", said, re.MULTILINE
    )
    if lines:
        return str(lines[0])
    return "" if said.endswith("exit status 0") else said[-500:].strip()
