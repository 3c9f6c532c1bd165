"""Servers whose processors differ: the same bits where they are promised, else a conflict."""

import platform
from pathlib import Path

import numpy as np
import pytest
import torch

import ce_engine
from losswire_client import Client, ConflictError
from losswire_server import launch

COMPILED = Path(ce_engine.__file__).parent / "cpu" / "libkernels_avx2.so"
RNG = np.random.default_rng(0)
LOGITS, TARGET = RNG.standard_normal((2000, 50), np.float32) * 3, RNG.integers(50, size=2000)


@pytest.fixture
def answer_of(tmp_path, monkeypatch):
    def answer_of(capability: str) -> bool | None:
        """What a server with instructions of this kind says of the batch: whether it was counted before."""
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
        with launch(runs=tmp_path / "runs.db") as server, Client(server.target) as client:
            return client.run("machines").cross_entropy(LOGITS, TARGET, key="k").was_counted

    return answer_of


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64" or not COMPILED.exists(), reason="needs compiled kernels for x86-64")
@pytest.mark.skipif("AVX" not in torch.backends.cpu.get_cpu_capability(), reason="needs AVX2")
def test_repeat_from_another_machine_is_a_repeat_or_a_conflict(answer_of):
    best = torch.backends.cpu.get_cpu_capability().lower()
    assert [answer_of(best), answer_of("avx2")] == [False, True]
    with pytest.raises(ConflictError) as refused:
        answer_of("default")
    counted, came = refused.value.counted, refused.value.came
    assert counted is not None
    assert came is not None
    assert counted.row_count == came.row_count == 2000
    assert came.statistics.mean == pytest.approx(counted.statistics.mean, rel=1e-8)
