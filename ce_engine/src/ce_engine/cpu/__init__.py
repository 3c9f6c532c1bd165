"""Evaluation on a CPU, by compiled kernels where there are some, and else by PyTorch's operators."""

from ce_engine.cpu._evaluate import evaluate

__all__ = ["evaluate"]
