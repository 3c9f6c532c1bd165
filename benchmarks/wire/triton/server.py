"""Starts tritonserver with its Python backend, on loopback, from the files of the wheel."""

import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from string import Template

import tritonclient.grpc

HERE = Path(__file__).parent
DATATYPES = ("FP32", "BF16")
START_SECONDS, STOP_SECONDS = 60.0, 30.0
BATCHING = {"max_batch_size": 64, "batching": "dynamic_batching { max_queue_delay_microseconds: 0 }"}
NO_BATCHING = {"max_batch_size": 0, "batching": ""}


@contextmanager
def tritonserver(*, batching: bool) -> Iterator[str]:
    """Runs tritonserver for the length of a ``with`` block, and gives its address.

    Args:
        batching: Whether it merges requests that wait, without any delay, or takes them one by one.
    """
    with tempfile.TemporaryDirectory() as folder:
        _write_backend(Path(folder, "backends", "python"))
        _write_models(Path(folder, "models"), BATCHING if batching else NO_BATCHING)
        address, log = f"127.0.0.1:{_free_port()}", Path(folder, "log")
        with log.open("w") as output:
            process = subprocess.Popen(_command(folder, address), env=_environment(), stdout=output, stderr=output)
        try:
            _wait_until_ready(process, address, log)
            yield address
        finally:
            _stop(process)


def _command(folder: str, address: str) -> list[str]:
    host, port = address.split(":")
    return [
        str(_wheel() / "bin" / "tritonserver"),
        f"--model-repository={folder}/models",
        f"--backend-directory={folder}/backends",
        f"--grpc-address={host}",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
        "--disable-auto-complete-config",
    ]


def _environment() -> dict[str, str]:
    """The backend's process embeds Python: it needs the library of the interpreter whose packages it is to import."""
    libraries = [str(sysconfig.get_config_var("LIBDIR")), os.environ.get("LD_LIBRARY_PATH", "")]
    paths = {"LD_LIBRARY_PATH": ":".join(filter(None, libraries)), "SITE_PACKAGES": sysconfig.get_path("purelib")}
    return {**os.environ, **paths}


def _write_backend(folder: Path) -> None:
    """Puts the backend together. In the wheel its process lies elsewhere, once for each version of Python."""
    folder.mkdir(parents=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = _wheel() / "python_backend_stubs" / version / "triton_python_backend_stub"
    for file in (*(_wheel() / "backends" / "python").iterdir(), stub):
        folder.joinpath(file.name).symlink_to(file)


def _write_models(folder: Path, options: dict[str, object]) -> None:
    config = Template((HERE / "config.pbtxt").read_text())
    for datatype in DATATYPES:
        version = folder / f"cross_entropy_{datatype}" / "1"
        version.mkdir(parents=True)
        version.joinpath("model.py").write_text((HERE / "model.py").read_text())
        version.parent.joinpath("config.pbtxt").write_text(config.substitute(options, datatype=datatype))


def _wheel() -> Path:
    spec = find_spec("pytriton")  # not imported: it would bring a framework that nobody here needs
    if spec is None or spec.origin is None:
        raise RuntimeError("nvidia-pytriton is not installed")
    return Path(spec.origin).parent / "tritonserver"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    with tritonclient.grpc.InferenceServerClient(address) as client:
        while time.monotonic() < end and process.poll() is None:
            try:
                if client.is_server_ready():
                    return
            except tritonclient.grpc.InferenceServerException:  # is not listening yet
                pass
            time.sleep(0.1)
    raise RuntimeError(f"tritonserver did not start: {log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
