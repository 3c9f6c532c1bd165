"""Evaluation on a CPU, by compiled kernels where there are some, and else by PyTorch's operators."""

from ce_engine.cpu._at_once import evaluate_at_once
from ce_engine.cpu._evaluate import evaluate
from ce_engine.cpu._launch import Launch, run_alone
from ce_engine.cpu._native import Run

__all__ = ["Launch", "Run", "evaluate", "evaluate_at_once", "run_alone"]
