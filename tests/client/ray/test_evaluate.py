"""Data sets on a real cluster."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import numpy as np
import pyarrow as pa
import pytest
import ray
import torch
from pyarrow import parquet

from losswire_client import Client, ConflictError, InvalidArgumentError, LosswireError, PreconditionError, Run
from losswire_client.ray import _evaluate, evaluate, serve
from tests.client.ray.datasets import DOMAIN, HALF, KEYS, LABELS, LOGITS, TARGET, bare, save, slices_of, table, whole
from tests.client.ray.living import is_alive, workers
from tests.client.runs.relay import Refusal
from tests.helpers import eventually
from tests.watchdog import started_by

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.alone]


def has_keys(run: Run, count: int) -> bool:
    return (run.progress().key_count or 0) >= count


def test_files_are_evaluated_to_the_last_bit(keeper, name, tmp_path):
    run, folder = keeper.run(name, labels=LABELS), save(tmp_path)
    result = evaluate(folder, run, root=folder, workers=1, finish=True)
    assert result.sums == whole(keeper)
    assert result.statistics == whole(keeper).statistics
    assert bare(slices_of(run)) == KEYS
    truth = torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS).double(), torch.from_numpy(TARGET))
    assert result.mean == pytest.approx(truth.item(), rel=1e-6)
    again = evaluate(folder, run, root=folder, finish=True)
    assert (again.is_finished, again.sums, again.key_count) == (True, result.sums, result.key_count)


def test_killed_worker_counts_nothing_twice(relay, name, tmp_path):
    killed = list[int]()
    parquet.write_table(table(), tmp_path / "a.parquet", row_group_size=10)
    with Client(relay.target, timeout=20) as client:
        run = client.run(name, labels={"block_rows": "10"})

        def kill(_: bytes) -> None:
            if has_keys(run, 5) and not killed:
                killed.extend(workers())
                for worker in killed:
                    os.kill(worker, signal.SIGKILL)  # its key counts, and it will never know

        relay.before_answer = kill
        result = evaluate(tmp_path, run, root=tmp_path, workers=1, finish=True)
        assert len(killed) == 1
        assert result.key_count == 12
        assert result.sums == whole(client)


def test_server_keeps_a_run_and_ends_with_its_actor(tmp_path):
    folder = save(tmp_path)
    with serve(num_gpus=0, num_cpus=0, host="127.0.0.1", runs=tmp_path / "runs.db") as servers:
        (actor,) = servers.actors
        with Client(servers.targets) as client:
            assert client.capabilities().device == "cpu"
            result = evaluate(folder, client.run("val"), root=folder, workers=1, finish=True)
            assert result.sums == whole(client)
            assert (result.key_count, servers.are_well()) == (2, [True])
        guard = ray.get(actor.pid.remote())
        processes = {guard, *started_by(guard)}
        assert len(processes) > 1
        ray.kill(actor)
        eventually(lambda: not any(map(is_alive, processes)))
        assert servers.are_well() == [False]


def test_file_written_anew_is_refused(keeper, name, tmp_path):
    run, folder = keeper.run(name), save(tmp_path)
    before = evaluate(folder, run, workers=1)
    np.savez(folder / "deep" / "b.npz", logits=LOGITS[HALF:] + 1, target=TARGET[HALF:])
    with pytest.raises(ConflictError, match=rf"^b\.npz: the run {name} has another file by the name of b\.npz"):
        evaluate(folder, run)
    with pytest.raises(ConflictError, match=r"has the same file by the name of a\.parquet, which would count twice"):
        evaluate(folder / "a.parquet", run, root=tmp_path.parent)
    assert run.result().sums == before.sums


def test_keys_of_files_and_of_rows_do_not_mix(keeper, name):
    run = keeper.run(name, labels=LABELS)
    with pytest.raises(InvalidArgumentError, match=f"^run: expected another one: the keys of {name} are blocks"):
        evaluate(ray.data.from_arrow(table()), run, key="domain")


def test_labels_of_the_run_are_kept(keeper, name, tmp_path):
    folder = save(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"^slice: expected none, .* has no slices, got domain"):
        evaluate(folder, keeper.run(name, labels=LABELS), slice="domain")
    with pytest.raises(InvalidArgumentError, match=r"^run: its label block_rows is no number of rows: all"):
        evaluate(folder, keeper.run(f"{name}.all", labels={"block_rows": "all"}))


def test_wrong_arguments_are_refused(keeper, name, tmp_path):
    run, folder = keeper.run(name), save(tmp_path)
    rows = ray.data.from_arrow(table())
    for arguments, options, argument in (
        ((folder, "val"), {}, "run"),
        ((folder, run), {"key": "domain"}, "key"),
        ((folder, run), {"workers": 0}, "workers"),
        ((folder, run), {"workers": (2, 1)}, "workers"),
        ((folder, run), {"workers": (1, 2, 3)}, "workers"),
        ((folder, run), {"input": "scores"}, "data"),
        ((rows, run), {}, "key"),
        ((rows, run), {"key": "domain", "root": "/"}, "root"),
        ((rows, run), {"key": "shard"}, "key"),
        ((rows, run), {"key": "domain", "target": "y"}, "target"),
        ((rows.rename_columns({"logits": "x"}), run), {"key": "domain"}, "input"),
    ):
        with pytest.raises(InvalidArgumentError) as told:
            evaluate(*arguments, **options)
        assert told.value.argument == argument
    assert run.result().key_count == 0


def test_key_that_is_evaluated_in_two_parts_is_told(keeper, name, monkeypatch):
    monkeypatch.setattr(_evaluate, "_values", lambda _: [b"a", b"b", b"a"])
    with pytest.raises(LosswireError, match=r"^a: Ray has cut the rows of this key apart"):
        evaluate(ray.data.from_arrow(table()), keeper.run(name), key="domain")


def test_dataset_is_evaluated_by_its_keys(keeper, name):
    run = keeper.run(name)
    shards = pa.array([f"shard-{i % 4}" for i in range(len(TARGET))])
    rows = table().append_column("shard", shards)
    for dataset in (ray.data.from_arrow([rows]), ray.data.from_arrow([rows.slice(60), rows.slice(0, 60)])):
        result = evaluate(dataset, run, key="shard", workers=1)
        assert result.sums == whole(keeper)
        assert list(slices_of(run)) == [f"shard-{i}" for i in range(4)]
    result = evaluate(dataset, run, key="shard", workers=(1, 2), finish=True)
    assert result.is_finished


def test_other_data_is_a_conflict_that_names_the_block(keeper, name):
    run = keeper.run(name)
    run.evaluate(LOGITS[:3], TARGET[:3], key="web")
    with pytest.raises(ConflictError, match=r"^web: "):
        evaluate(ray.data.from_arrow(table()), run, key="domain", workers=1)


def test_run_with_other_keys_is_not_finished(keeper, name, tmp_path):
    run, folder = keeper.run(name), save(tmp_path)
    run.evaluate(LOGITS[:3], TARGET[:3], key="another")
    with pytest.raises(PreconditionError) as told:
        evaluate(folder, run, root=folder, workers=1, finish=True)
    assert told.value.unexpected == ["another"]


def test_slices_and_weights_of_rows_count(keeper, name, tmp_path):
    run, folder = keeper.run(name), save(tmp_path)
    result = evaluate(folder, run, root=folder, slice="domain", sample_weight="weight", workers=2, finish=True)
    assert result.row_count == (TARGET != -100).sum()
    truth = {domain: (TARGET[domain == DOMAIN] != -100).sum() for domain in ("books", "web")}
    assert {domain: totals.row_count for domain, totals in result.by_slice.items()} == truth


def test_part_is_evaluated_again_after_its_answers_were_lost(relay, name, tmp_path):
    relay.lost += [Refusal(grpc.StatusCode.UNAVAILABLE, "away")] * 2
    folder, options = save(tmp_path), ray.data.DataContext.get_current().retried_map_errors
    with Client(relay.target, timeout=20, retry=None) as client:
        result = evaluate(folder, client.run(name), root=folder, workers=1, finish=True)
        assert relay.lost == []
        assert result.sums == whole(client)
    assert ray.data.DataContext.get_current().retried_map_errors == options


def test_workers_that_are_killed_again_and_again(keeper, name, tmp_path):
    rows, run, due = table(), keeper.run(name, labels={"block_rows": "2"}), [20, 60, 110, 170]
    for number in range(4):
        parquet.write_table(rows, tmp_path / f"{number}.parquet", row_group_size=2)
    with ThreadPoolExecutor(1) as other:
        job = other.submit(evaluate, tmp_path, run, root=tmp_path, workers=2, num_cpus=0.5, finish=True)
        for count in due:
            eventually(partial(has_keys, run, count), seconds=60)
            for worker in workers():
                os.kill(worker, signal.SIGKILL)
        assert not job.done()
        result = job.result()
    parts = whole(keeper)
    assert result.sums == parts + parts + parts + parts
    assert result.key_count == 240
