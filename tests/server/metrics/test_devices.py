"""Metrics of a GPU, by a stand-in for NVIDIA's library."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from prometheus_client import CollectorRegistry

from losswire_server.metrics.devices import DeviceMetrics, reader, show_device


class NVMLError(Exception):
    pass


class Library:
    """As much of ``pynvml`` as is used, with one GPU."""

    NVMLError = NVMLError

    def __init__(self):
        self.is_lost = False

    def nvmlInit(self):  # noqa: N802 - NVIDIA's name, as those that follow
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid != "GPU-1":
            raise NVMLError("Not Found")
        return 1

    def nvmlDeviceGetMemoryInfo(self, _handle):  # noqa: N802
        if self.is_lost:
            raise NVMLError("GPU is lost")
        return SimpleNamespace(used=7, total=10, free=3)

    def nvmlDeviceGetUtilizationRates(self, _handle):  # noqa: N802
        return SimpleNamespace(gpu=25, memory=5)


@pytest.fixture
def library():
    return Library()


@pytest.fixture
def registry(library):
    registry = CollectorRegistry()
    registry.register(DeviceMetrics("cuda:0", reader(library, "GPU-1"), NVMLError))
    return registry


def values(registry):
    names = ("device_memory_used_bytes", "device_memory_total_bytes", "device_utilization_ratio")
    return [registry.get_sample_value(f"losswire_{name}", {"device": "cuda:0"}) for name in names]


def test_gpu_is_read_at_each_scrape(registry):
    assert values(registry) == [7, 10, 0.25]


def test_gpu_is_shown_to_those_who_ask_for_it_alone(registry):
    name = "losswire_device_memory_used_bytes"
    shown = [sample for metric in registry.restricted_registry([name]).collect() for sample in metric.samples]
    assert [(sample.name, sample.value) for sample in shown] == [(name, 7)]


def test_lost_gpu_leaves_other_metrics(library, registry):
    library.is_lost = True
    assert values(registry) == [None] * 3


def test_unknown_gpu_is_an_error(library):
    with pytest.raises(NVMLError, match="Not Found"):
        reader(library, "GPU-2")


def test_cpu_has_no_such_metrics():
    registry = CollectorRegistry()
    show_device(registry, torch.device("cpu"))
    assert list(registry.collect()) == []


def test_gpu_that_pytorch_does_not_find_costs_metrics_alone(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "current_device", Mock(side_effect=AssertionError("not compiled with CUDA")))
    registry = CollectorRegistry()
    show_device(registry, torch.device("cuda"))
    assert list(registry.collect()) == []
    assert "no metrics of the GPU" in caplog.text


def test_missing_library_costs_metrics_alone(monkeypatch, caplog):
    registry = CollectorRegistry()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _index: SimpleNamespace(uuid="1"))
    show_device(registry, torch.device("cuda", 0))  # this machine has no driver
    assert list(registry.collect()) == []
    assert "no metrics of the GPU" in caplog.text
