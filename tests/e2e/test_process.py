"""The server as its users run it: a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.tensors import encode
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import Client, LosswireError
from losswire_server import launch
from tests.helpers import eventually
from tests.present import present
from tests.processes import run, started

COMMAND = [sys.executable, "-m", "losswire_server", "--port=0", "--metrics-port=0", "--log-format=json"]


def read_event(process: subprocess.Popen[str], event: str) -> dict[str, str]:
    for line in present(process.stderr):
        entry: dict[str, str] = json.loads(line)
        if entry["event"] == event:
            return entry
    raise AssertionError(f"it ended before it said {event!r}")


@pytest.fixture
def process():
    with started(COMMAND, stderr=subprocess.PIPE, text=True) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_signal_ends_it_cleanly(process, number):
    target = read_event(process, "serving")["target"]
    with Client(target) as client:
        client.capabilities()
        process.send_signal(number)
        assert process.wait(20) == 0
    assert [json.loads(line)["event"] for line in process.stderr] == ["call", "draining", "stopped"]


@pytest.mark.slow
def test_log_says_where_runs_are(tmp_path):
    with started([*COMMAND, "--runs", tmp_path / "runs.db"], stderr=subprocess.PIPE, text=True) as process:
        assert read_event(process, "serving")["runs"] == str(tmp_path / "runs.db")


@pytest.mark.slow
def test_signal_at_the_start_ends_it_cleanly(process):
    read_event(process, "serving")
    process.send_signal(signal.SIGTERM)
    assert [json.loads(line)["event"] for line in process.stderr] == ["draining", "stopped"]
    assert process.wait(20) == 0


@pytest.mark.slow
def test_second_signal_ends_it_at_once():
    with started([*COMMAND, "--drain-seconds=600"], stderr=subprocess.PIPE, text=True) as process:
        read_event(process, "serving")
        process.send_signal(signal.SIGINT)
        read_event(process, "draining")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
        assert present(process.stderr).read() == ""


def test_second_signal_ends_the_start_at_once():
    with started(COMMAND, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: catches(process.pid, signal.SIGTERM))
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert process.returncode in (0, -signal.SIGTERM)  # 0 if the first one ended it
        assert "Traceback" not in present(process.stderr).read()


def catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
    return bool(int(present(caught)[1], 16) >> (number - 1) & 1)


@pytest.mark.slow
def test_second_signal_ends_the_grace_at_once():
    with started([*COMMAND, "--grace-seconds=600"], stderr=subprocess.PIPE, text=True) as process:
        serving = read_event(process, "serving")
        with grpc.insecure_channel(serving["target"]) as channel:
            never = threading.Event()
            call: Any = channel.stream_stream("/losswire.v1.LossService/EvaluateStream")
            stream = call(iter(lambda: never.wait() or None, None))
            eventually(lambda: has_begun_a_stream(serving["metrics"]))
            process.send_signal(signal.SIGTERM)
            read_event(process, "draining")
            time.sleep(0.3)
            assert process.poll() is None  # the stream has its time
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == -signal.SIGTERM
            assert stream.code() is grpc.StatusCode.UNAVAILABLE
            never.set()


def has_begun_a_stream(metrics: str) -> bool:
    said = urllib.request.urlopen(f"http://{metrics}/metrics").read().decode()
    return bool(re.search(r'^grpc_server_started_total\{.*"EvaluateStream".*\} 1\.0$', said, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "status"), [("--port=-1", 2), ("--port=TAKEN", 2)])
@pytest.mark.parametrize("redirected", ["2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_output_changes_no_refusal(arguments, status, redirected):
    with socket.create_server(("127.0.0.1", 0)) as other:
        flag = arguments.replace("TAKEN", str(other.getsockname()[1]))
        command = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "losswire_server", flag]
        done = run(command, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


@pytest.mark.slow
def test_closed_standard_error_stays_closed():
    """No connection gets its descriptor, so no log line goes to a caller."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, f"--port={port}"]
    with started(command) as process:
        with Client(f"127.0.0.1:{port}", timeout=60) as client:
            eventually(lambda: serves(client), 60)
        assert os.readlink(f"/proc/{process.pid}/fd/2") == "/dev/null"
        process.terminate()
        assert process.wait(20) == 0


def serves(client: Client) -> bool:
    try:
        return client.capabilities() is not None
    except LosswireError:
        return False


def test_too_few_open_files_are_refused():
    command = ["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", sys.executable, "-m", "losswire_server"]
    done = run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(
        r"losswire-server: open files: expected a limit \(ulimit -n\) of at least \d+, got 20\n", done.stderr
    )


@pytest.mark.slow
def test_draining_server_answers_but_is_unfit():
    """Calls are still answered, and the health check says not serving."""
    request = v1.EvaluateRequest(spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, nll_loss=v1.NllLoss()))
    encode(np.array([1.0, 2.0]), request.input, "input")
    encode(np.array(0), request.target, "target")
    with launch(drain_seconds=60) as server, grpc.insecure_channel(server.target) as channel:  # without health checks
        port = server.target.rpartition(":")[2]
        check = [sys.executable, "-m", "losswire_server.health"]
        environment = {**os.environ, "LOSSWIRE_PORT": port}
        assert run(check, env=environment).returncode == 0
        os.kill(server.pid, signal.SIGTERM)
        refused = run(check, env=environment, capture_output=True, text=True)
        assert (refused.returncode, refused.stderr) == (1, "not serving\n")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(server.metrics_url.replace("/metrics", "/healthz"))
        assert LossServiceStub(channel).Evaluate(request).row_count == 1


def test_health_check_needs_a_server():
    check = [sys.executable, "-m", "losswire_server.health"]
    environment = {**os.environ, "LOSSWIRE_PORT": "1"}
    assert run(check, env=environment, capture_output=True).returncode == 1


@pytest.mark.parametrize("setting", ["port", pytest.param("metrics_port", marks=pytest.mark.slow)])
def test_port_that_is_taken_is_said_so(setting):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port: dict[str, Any] = {setting: other.getsockname()[1]}
        with pytest.raises(RuntimeError, match=rf"cannot listen on 127.0.0.1:{port[setting]}"), launch(**port):
            pass


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_server_listens_on_ipv6():
    with launch(host="::1", metrics_host="[::1]") as server, Client(server.target) as client:
        assert client.cross_entropy([1.0, 2.0], 0).row_count == 1
        assert b"losswire_rows_total" in urllib.request.urlopen(server.metrics_url).read()


@pytest.mark.slow
def test_open_server_is_refused_unless_it_says_so():
    with pytest.raises(RuntimeError, match=r"host: expected TLS and known callers"), launch(host="0.0.0.0"):
        pass
    with launch(host="0.0.0.0", insecure=True, metrics=False, log_level="error") as server:
        assert server.metrics_url == ""
        with Client(server.target.replace("0.0.0.0", "127.0.0.1")) as client:
            assert client.cross_entropy([1.0, 2.0], 0).row_count == 1


def test_launch_says_why_nothing_starts():
    with pytest.raises(RuntimeError, match=r"port: Input should be a valid integer"), launch(port="many"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(("level", "events"), [("error", []), ("info", ["draining", "stopped"])])
def test_launch_takes_its_own_settings(level, events, monkeypatch, capsys):
    """It passes the log on, and ignores the environment."""
    monkeypatch.setenv("LOSSWIRE_LOG_LEVEL", "critical")
    monkeypatch.setenv("LOSSWIRE_HOST", "0.0.0.0")
    with launch(log_level=level) as server:
        assert server.target.startswith("127.0.0.1:")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == events


def test_launch_reads_a_log_of_any_bytes(monkeypatch, capsys, tmp_path):
    """gRPC's core writes what peers send, and a server whose log nobody reads stands still once the pipe is full."""
    serving = '{"event": "serving", "target": "127.0.0.1:1", "metrics": "127.0.0.1:2"}'
    program = tmp_path / "losswire-server"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n\\377\\n{{\"event\": \"later\"}}\\n' '{serving}' >&2\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with launch():
        pass
    assert capsys.readouterr().err.splitlines() == [r"\xff", '{"event": "later"}']


def test_launch_refuses_an_unknown_level():
    with pytest.raises(ValueError, match=r"log_level: expected one of debug, .*, got 'loud'"), launch(log_level="loud"):
        pass


def test_launch_gives_up_in_time():
    with pytest.raises(RuntimeError, match="did not start"), launch(start_seconds=0.1):
        pass


@pytest.mark.slow
def test_launched_server_ends_with_its_block():
    with launch() as server, Client(server.target) as client:
        client.cross_entropy([[1.0, 2.0]], [0], series="e2e")
        scrape = urllib.request.urlopen(server.metrics_url).read().decode()
        assert 'losswire_weight_sum_total{loss="cross_entropy",series="e2e"} 1.0' in scrape
        assert "losswire_build_info{" in scrape
        assert "process_resident_memory_bytes " in scrape
    eventually(lambda: not os.path.exists(f"/proc/{server.pid}"))


@pytest.mark.slow
def test_server_survives_other_protocols():
    with launch() as server, Client(server.target) as client:
        host, _, port = server.target.rpartition(":")
        with socket.create_connection((host, int(port))) as garbage:
            garbage.sendall(bytes(range(256)) * 40)
        assert client.cross_entropy([1.0, 2.0], 0).row_count == 1
