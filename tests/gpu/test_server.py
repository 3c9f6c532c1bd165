"""The server on a device, by the SDK: every way of a batch, and what callers and supervisors see if it fails."""

import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ce_engine.gpu._heads import _heads
from tests.gpu.fake_device import FakeDevice

pytest.importorskip("losswire_server")  # absent where only the kernels are tested

import losswire_client
from losswire_client import Client
from losswire_server import Server
from tests.helpers import eventually, serving
from tests.present import present
from tests.processes import started

ROOT = Path(__file__).parents[2]
ROWS, CLASSES = 300, 40


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    fake = FakeDevice()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a fake device")
    monkeypatch.setattr("ce_engine.gpu.CudaDevice", lambda _: fake)
    return fake


@pytest.fixture
def server(device: FakeDevice) -> Iterator[Server]:  # noqa: ARG001 - it is patched in
    with serving(device="cuda", slab_bytes=4096) as running:
        yield running


def batch(rows: int = ROWS, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, CLASSES)).astype(np.float32), generator.integers(CLASSES, size=rows)


def check(result: losswire_client.Result, logits: Any, target: Any) -> None:
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(leaf, torch.tensor(target))
    (grad,) = torch.autograd.grad(loss, leaf)
    np.testing.assert_allclose(result.loss, loss.item(), rtol=1e-6)
    np.testing.assert_allclose(present(result.grad), grad.numpy(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_each_transport_computes_on_the_device(server, device, transport):
    logits, target = batch()
    with Client(f"localhost:{server.port}", transport=transport) as client:
        assert client.capabilities().device == "cuda"
        check(client.cross_entropy(logits, target, grad=True), logits, target)
    assert device.allocations


@pytest.mark.usefixtures("device")
def test_callers_are_told_which_of_several_devices_it_is():
    with serving(device="cuda:0") as server, Client(f"localhost:{server.port}") as client:
        told = client.capabilities()
        assert (told.device, told.device_name) == ("cuda:0", "a fake device")


def test_packed_calls_compute_on_the_device(server, device):
    batches = [batch(rows=3, seed=seed) for seed in range(20)]
    with Client(f"localhost:{server.port}", coalesce=True) as client:
        for one, result in zip(batches, client.map(batches, grad=True), strict=True):
            check(result, *one)
    assert device.allocations


def test_deleted_head_leaves_the_device(server, device, monkeypatch):
    monkeypatch.setattr("ce_engine.gpu._divergence.PART_NUMBERS", 100 * CLASSES)
    generator, before = np.random.default_rng(0), weakref.WeakSet(_heads)
    head = losswire_client.Head(generator.normal(size=(CLASSES, 12)).astype(np.float32))
    hidden = generator.normal(size=(ROWS, 12)).astype(np.float32)
    with Client(f"localhost:{server.port}") as client:
        result = client.kl_divergence(hidden, hidden, head=head, target_head=head, grad=True)
        np.testing.assert_allclose(result.loss, 0, atol=1e-6)
        (copy,) = (
            weakref.ref(copy.weight) for of, copies in _heads.items() if of not in before for copy in copies.values()
        )
        client.delete_head(head)
        eventually(lambda: copy() is None)
    assert device.waits


def test_lack_of_memory_fails_one_call(server, device):
    small, large = batch(rows=3), batch(rows=3000)
    device.free_bytes = 64 * 1024
    with Client(f"localhost:{server.port}", transport="unary", retry=None) as client:
        check(client.cross_entropy(*small, grad=True), *small)
        with pytest.raises(losswire_client.ResourceExhaustedError, match="too little memory is free for 3000 rows"):
            client.cross_entropy(*large, grad=True)
        check(client.cross_entropy(*small, grad=True), *small)


def test_lost_device_fails_calls_and_is_known(server, device):
    device.fault = torch.AcceleratorError("CUDA error: unspecified launch failure")
    with Client(f"localhost:{server.port}", transport="unary", retry=None) as client:
        for _ in range(2):
            with pytest.raises(losswire_client.UnavailableError):
                client.cross_entropy(*batch())
    eventually(server.device_lost.is_set)


@pytest.mark.slow
def test_lost_device_ends_the_process():
    command = [sys.executable, "-m", "tests.gpu.serve", "2", "--device=cuda", "--port=0", "--metrics-port=0"]
    with started([*command, "--log-format=json"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        log = present(process.stderr)
        target = next(entry["target"] for entry in map(json.loads, log) if entry["event"] == "serving")
        with Client(target, transport="unary", retry=None) as client:
            check(client.cross_entropy(*batch(), grad=True), *batch())
            with pytest.raises(losswire_client.UnavailableError):
                client.cross_entropy(*batch())
            assert process.wait(60) == 3
        errors = [entry for entry in map(json.loads, log) if entry["level"] == "error"]
    assert [(entry["event"], entry["device"]) for entry in errors] == [("device lost", "cuda")]
    assert errors[0]["problem"] == "CUDA error: an illegal memory access was encountered"
