"""Metrics of the GPU, from NVIDIA's management library."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from losswire.monitoring.metrics import METRICS

log = logging.getLogger(__name__)


class Reading(NamedTuple):
    """What a GPU is like at one time.

    Attributes:
        used_bytes: Of its memory, by all processes.
        total_bytes: Of its memory.
        utilization: Part of the last moments in which it computed, from 0 to 1.
    """

    used_bytes: float
    total_bytes: float
    utilization: float


Read = Callable[[], Reading]
GAUGES: dict[str, Callable[[Reading], float]] = {
    "losswire_device_memory_used_bytes": lambda reading: reading.used_bytes,
    "losswire_device_memory_total_bytes": lambda reading: reading.total_bytes,
    "losswire_device_utilization_ratio": lambda reading: reading.utilization,
}


class Nvml(Protocol):
    """As much of the module ``pynvml`` as is used."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802 - NVIDIA's name, as those that follow

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...  # noqa: N802

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...  # noqa: N802

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...  # noqa: N802


def show_device(registry: CollectorRegistry, device: torch.device) -> None:
    """Shows a GPU's memory and utilisation at each scrape, where NVIDIA's library is there. A CPU has none."""
    if device.type != "cuda":
        return
    try:
        import pynvml

        index = torch.cuda.current_device() if device.index is None else device.index
        read = reader(pynvml, f"GPU-{torch.cuda.get_device_properties(index).uuid}")
    except Exception as error:  # noqa: BLE001 - of a library, or of loading it: the service needs none of this
        log.warning("no metrics of the GPU", extra={"device": str(device), "problem": str(error)})
        return
    registry.register(DeviceMetrics(f"cuda:{index}", read, pynvml.NVMLError))


def reader(nvml: Nvml, uuid: str) -> Read:
    """Reads the GPU of that id, which is the same in PyTorch and in NVIDIA's library, whatever their numbers.

    Raises:
        Exception: The library does not work, or knows no such GPU.
    """
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByUUID(uuid)

    def read() -> Reading:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return Reading(memory.used, memory.total, nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)

    read()
    return read


class DeviceMetrics:
    """Reads a GPU once a scrape.

    Args:
        device: Its name in PyTorch.
        read: Reads it.
        error: Of the library, for example once the GPU has fallen off the bus: then there are no numbers.
    """

    def __init__(self, device: str, read: Read, error: type[Exception]) -> None:
        self._device = device
        self._read = read
        self._error = error

    def collect(self) -> Iterator[Metric]:
        try:
            reading = self._read()
        except self._error:
            return
        for family, value in zip(self.describe(), GAUGES.values(), strict=True):
            family.add_metric((self._device,), value(reading))
            yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics without numbers, by which callers find them who ask for some metrics alone."""
        return (GaugeMetricFamily(name, METRICS[name].meaning, labels=("device",)) for name in GAUGES)
