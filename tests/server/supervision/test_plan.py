"""What each process is told, with as many GPUs as the test says."""

import pytest

from losswire_server import Settings
from losswire_server.settings.reading import WrongSettingsError
from losswire_server.settings.types import CORES
from losswire_server.supervision.plan import needs_supervisor, plan

MIB = 2**20


def no_devices() -> int:
    raise AssertionError("nobody asked for GPUs")


@pytest.mark.parametrize(
    ("settings", "needed"),
    [({}, False), ({"device": "cuda:1"}, False), ({"processes": 2}, True), ({"device": "all"}, True)],
)
def test_only_several_processes_need_a_supervisor(settings, needed):
    assert needs_supervisor(Settings(**settings)) == needed


def test_parts_add_up_to_the_whole():
    whole = Settings(
        processes=3, max_inflight_bytes=900 * MIB, max_queue_rows=1000, access_log_per_second=10, head_bytes=9
    )
    parts = plan(whole, no_devices)
    assert len(parts) == 3
    assert {part.max_inflight_bytes for part in parts} == {300 * MIB}
    assert {part.lookahead_bytes for part in parts} == {300 * MIB // 128}
    assert {part.head_bytes for part in parts} == {3}
    assert {part.shared_memory_bytes for part in parts} == {whole.shared_memory_bytes // 3}
    assert {(part.max_queue_rows, part.access_log_per_second, part.processes) for part in parts} == {(333, 4, 1)}
    assert {part.max_message_bytes for part in parts} == {whole.max_message_bytes}


@pytest.mark.parametrize(
    ("settings", "workers"),
    [
        ({"processes": 2}, max(1, CORES // 2)),
        ({"processes": 2, "engine_workers": 3}, 3),
        ({"processes": 4, "device": "cuda"}, 1),
    ],
)
def test_cores_are_shared_out(settings, workers):
    whole = Settings(max_message_bytes=MIB, **settings)
    assert [part.engine_workers for part in plan(whole, no_devices)] == [workers] * whole.processes


@pytest.mark.parametrize("count", [1, 2, 8])
def test_each_device_has_a_process(count):
    parts = plan(Settings(device="all", max_inflight_bytes=count * 512 * MIB), lambda: count)
    assert [part.device for part in parts] == [f"cuda:{number}" for number in range(count)]
    assert {part.workers for part in parts} == {1}


@pytest.mark.parametrize(
    ("settings", "count", "said"),
    [
        ({"device": "all"}, 0, "device: expected all only where PyTorch finds a GPU, and it finds none"),
        ({"device": "all", "processes": 2}, 2, "processes: expected none with device=all, .*, got 2"),
        (
            {"processes": 2, "max_inflight_bytes": 300 * MIB},
            0,
            "processes: each of 2 has its part of the memory: max_inflight_bytes times caller_share must be at least",
        ),
        (
            {"processes": 3, "torch_threads": 16 * CORES, "engine_workers": 1},
            0,
            "processes: engine_workers times torch_threads",
        ),
    ],
)
def test_too_little_for_each_is_refused(settings, count, said):
    with pytest.raises(WrongSettingsError, match=said):
        plan(Settings(**settings), lambda: count)


def test_file_is_not_read_again(tmp_path):
    path = tmp_path / "losswire.toml"
    path.write_text("processes = 2\nmax_series = 7\n")
    whole = Settings(config=path)
    path.write_text("max_series = 8\n")
    assert {(part.max_series, part.processes) for part in plan(whole, no_devices)} == {(7, 1)}
