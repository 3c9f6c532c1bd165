"""Evaluations with keys, and runs to which they belong."""

from typing import Any

import torch

from losswire import v1
from losswire.exact_sums import ExactSums
from losswire_server.requests.encoding import fill

MEAN = v1.Reduction.REDUCTION_MEAN
CLASSES = 10


def plain_spec() -> v1.LossSpec:
    return v1.LossSpec(reduction=MEAN, cross_entropy=v1.CrossEntropy())


def keyed(run: str, key: str, seed: int = 0, rows: int = 8, slice: str = "", **fields: Any) -> v1.EvaluateRequest:
    """A request for a key, whose rows follow from the seed."""
    generator = torch.Generator().manual_seed(seed)
    request = v1.EvaluateRequest(
        **{"spec": plain_spec(), "exact": {}, **fields}, run_key=v1.RunKey(run=run, key=key, slice=slice)
    )
    fill(request.input, torch.randn(rows, CLASSES, generator=generator))
    fill(request.target, torch.randint(CLASSES, (rows,), generator=generator))
    return request


def create(runs: Any, name: str, **fields: Any) -> v1.Run:
    run: v1.Run = runs.CreateRun(v1.CreateRunRequest(**{"name": name, "spec": plain_spec(), **fields})).run
    return run


def totals(runs: Any, name: str) -> ExactSums:
    return ExactSums.from_message(runs.GetRun(v1.GetRunRequest(name=name)).run.totals.sums)
