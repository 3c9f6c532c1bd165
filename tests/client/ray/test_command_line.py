"""One run, added to by ``losswire eval`` and by Ray."""

import json

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from losswire_client import ConflictError
from losswire_client.cli._app import app
from losswire_client.ray import evaluate
from tests.client.ray.datasets import BLOCK_ROWS, HALF, KEYS, LABELS, bare, save, slices_of, table, whole

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.alone]


@pytest.fixture
def command(keeper):
    """``losswire eval --run NAME``: its exit code, and its JSON or its error."""

    def run(name, *arguments):
        words = ["eval", "--run", name, "--json", *map(str, arguments)]
        result = CliRunner().invoke(app, words, env={"LOSSWIRE_TARGET": keeper.target}, prog_name="losswire")
        return result.exit_code, result.stderr or json.loads(result.stdout)

    return run


def all_of(folder):
    return folder / "a.parquet", folder / "deep" / "b.npz"


def test_ray_goes_on_with_what_the_command_began(keeper, command, name, tmp_path):
    folder = save(tmp_path)
    assert command(name, folder / "a.parquet", "--root", folder, "--block-rows", BLOCK_ROWS)[0] == 0
    run = keeper.get_run(name)
    began = slices_of(run)
    result = evaluate(folder, run, root=folder, workers=1, finish=True)
    assert (bare(began), bare(slices_of(run))) == (KEYS[:3], KEYS)
    assert result.sums == whole(keeper)


@pytest.mark.parametrize("labels", [LABELS, None], ids=["labels", "usual blocks"])
def test_command_goes_on_with_what_ray_began(keeper, command, name, tmp_path, labels):
    run, folder = keeper.run(name, labels=labels), save(tmp_path)
    evaluate(folder / "a.parquet", run, root=folder, workers=1)
    began = len(slices_of(run))
    code, said = command(name, *all_of(folder), "--root", folder, "--finish")
    assert (code, said["found_key_count"], said["added_key_count"]) == (0, began, began)
    assert run.result().sums == whole(keeper)
    assert evaluate(folder, run, root=folder, finish=True).key_count == 2 * began


@pytest.mark.parametrize("by", ["file", "folder", "domain"])
def test_slices_are_the_same(keeper, command, name, tmp_path, by):
    folder = save(tmp_path)
    options = "--root", folder, "--slice-by", by
    assert command(name, folder / "a.parquet", "--block-rows", BLOCK_ROWS, *options)[0] == 0
    run = keeper.get_run(name)
    evaluate(folder, run, root=folder, workers=1)
    code, said = command(name, *all_of(folder), *options, "--finish")
    assert (code, said["added_key_count"], said["is_complete"]) == (0, 0, True)
    assert run.result().sums == whole(keeper)


def test_slices_that_ray_chose_are_taken_and_no_others(keeper, command, name, tmp_path):
    run, folder = keeper.run(name), save(tmp_path)
    evaluate(folder / "a.parquet", run, slice="domain", workers=1)
    before = slices_of(run)
    code, line = command(name, folder / "a.parquet")
    assert (code, "or the same one read otherwise" in line) == (1, True)
    code, said = command(name, folder / "a.parquet", "--slice-by", "domain")
    assert (code, said["added_key_count"], slices_of(run)) == (0, 0, before)


def test_size_of_blocks_is_that_of_the_run(keeper, command, name, tmp_path):
    run, folder = keeper.run(name), save(tmp_path)
    evaluate(folder / "a.parquet", run, workers=1)
    code, line = command(name, folder / "a.parquet", "--block-rows", HALF)
    assert (code, "--block-rows: the run" in line) == (2, True)


def test_file_written_anew_is_refused_by_the_other(keeper, command, name, tmp_path):
    folder = save(tmp_path)
    assert command(name, folder / "a.parquet")[0] == 0
    run = keeper.get_run(name)
    before = run.result().sums
    parquet.write_table(table(slice(HALF, None)), folder / "a.parquet")
    with pytest.raises(ConflictError, match=r"^a.parquet: the run .* has another file by the name of a.parquet"):
        evaluate(folder / "a.parquet", run, workers=1)
    assert run.result().sums == before
