"""``losswire-server`` on a fake device, which breaks at the launch whose number is the first argument."""

import os
import runpy
import sys
from unittest import mock

import torch

os.environ["TRITON_INTERPRET"] = "1"  # before any import of the kernels

from losswire_server import Server
from tests.gpu.fake_device import FakeDevice


class BreakingDevice(FakeDevice):
    launches_left = 0

    def count_launch(self) -> None:
        self.launches_left -= 1
        if self.launches_left == 0:
            self.fault = torch.AcceleratorError(
                "CUDA error: an illegal memory access was encountered\nFor debugging ..."
            )
        self.check_life()


if __name__ == "__main__":
    BreakingDevice.launches_left = int(sys.argv.pop(1))
    with (
        mock.patch("torch.cuda.device_count", return_value=1),
        mock.patch("torch.cuda.get_device_name", return_value="a fake device"),
        mock.patch("ce_engine.gpu.CudaDevice", return_value=BreakingDevice()),
        mock.patch.object(Server, "_warm_up", mock.AsyncMock()),  # its launches would count
    ):
        runpy.run_module("losswire_server", run_name="__main__")
