"""Without a GPU, Triton's interpreter runs the same kernels in numpy, slowly."""

import importlib.util
import os
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before any import of the kernels, since it changes them


# Triton is made for Linux alone.
collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device, and PyTorch finds none")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _same_numbers_each_time() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _infinities_are_no_news() -> Iterator[None]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")
        yield


@pytest.fixture(autouse=True)
def _results_are_written_to_poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        memory = torch.empty(shape, dtype=dtype, device=device)
        return memory.fill_(float("nan") if dtype.is_floating_point else -1)  # -1 is True to bool

    monkeypatch.setattr("ce_engine._kernel_rows.empty", poisoned)
