"""Files that are not what their names say, and files that end early."""

import zipfile
from itertools import permutations, product

import pyarrow as pa
import pytest

from tests.client.cli.files import write
from tests.client.readers.reading import LISTS, LOGITS, refused, saved

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n"
CONTENTS = {
    "is empty, expected ": b"",
    "is text, expected a": b"something else" * 100,
    "is a web page, expected ": b"<!DOCTYPE html>\n<html>Not found</html>",
    "is JSON, expected ": b'{"error": "not found"}',
    "is a Git LFS pointer, which git lfs pull replaces by the file, expected": LFS,
    "is an HDF5 file, expected": b"\x89HDF\r\n\x1a\n",
    "is compressed by gzip, expected": b"\x1f\x8b\x08\x00",
    "is text in UTF-16, expected": "a,b".encode("utf-16"),
    "is a pickle, expected": b"\x80\x04\x95",
    "is of no known format, expected": b"\x00\x01\x02\xff\xfe" * 10,
}
ELSE = [
    (problem, suffix) for problem in CONTENTS for suffix in ("npz", "npy", "safetensors", "parquet", "arrow", "csv")
]
ELSE.remove(("is text, expected a", "csv"))


@pytest.mark.parametrize(("problem", "suffix"), ELSE)
def test_other_file_is_told_what_it_is(problem, suffix, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(CONTENTS[problem])
    assert refused(path).startswith(problem)


SAVED = ("npz", "safetensors", "parquet", "feather", "arrow", "npy")
WRONG = {*product(SAVED, [*SAVED, "csv"])} - {*zip(SAVED, SAVED, strict=True)} - {*permutations(["feather", "arrow"])}


@pytest.mark.parametrize(("suffix", "other"), sorted(WRONG))
def test_misnamed_file_is_told_what_it_is(suffix, other, tmp_path):
    path = saved(tmp_path, suffix).rename(tmp_path / f"renamed.{other}")
    assert refused(path, path).startswith(("is a", "is an"))


@pytest.mark.parametrize("suffix", SAVED)
def test_file_that_is_cut_short_is_told_so(suffix, tmp_path):
    path = saved(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[:-40])
    assert "ends early" in refused(path, path) or "ends before its last row" in refused(path, path)


def test_unended_stream_is_refused(tmp_path):
    with (tmp_path / "rows.arrow").open("wb") as file, pa.ipc.new_stream(file, LISTS.schema) as out:
        out.write_table(LISTS)
    path = tmp_path / "rows.arrow"
    path.write_bytes(path.read_bytes()[:-8])  # pyarrow does not notice this
    assert "ends early" in refused(path)


def test_checkpoint_of_torch_is_told_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("rows/data.pkl", b"")
    assert refused(tmp_path / "rows.npz") == "is a file of torch.save, expected a zip"


def test_unnamed_file_is_told_what_it_is(tmp_path):
    path = write(tmp_path, "safetensors", {"logits": LOGITS}).rename(tmp_path / "rows.bin")
    assert refused(path).endswith(", and it is a safetensors file")
