"""Files are streamed: the memory of the process that evaluates them does not depend on their size."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.client.cli.files import write
from tests.processes import run

MIB = 2**20
CLASSES = 1024
ROWS = 256 * MIB // (4 * CLASSES)
GROWTH = 64 * MIB  # chance: the batches of 2 MiB that happen to be in flight, and memory that malloc has not given back

OTHERS = ("column-major.npz", "sequences.arrow")

# Peaks of anonymous memory, without mapped files: with a small file, and after that with a large one.
PROGRAM = """
import sys, threading, time
from losswire_client.cli._app import app

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

peak = 0

def watch():
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()
for path in sys.argv[1:]:
    peak = 0
    try:
        app(["eval", path, "--json", "--per-class", "--batch-rows", "512"])
    except SystemExit as ended:
        assert not ended.code
    print(peak, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell what memory is of files")
@pytest.mark.parametrize("format", ["npz", "compressed.npz", "safetensors", "parquet", *OTHERS])
def test_memory_does_not_grow_with_the_file(format, target, tmp_path):
    small, large = (tmp_path / name for name in ("small", "large"))
    most = ROWS // 2 if format in OTHERS else ROWS  # these formats take longer
    paths = [save(folder, format, rows) for folder, rows in ((small, most // 8), (large, most))]
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    done = run(command, check=True, capture_output=True, text=True, env=os.environ | {"LOSSWIRE_TARGET": target})
    before, after = map(int, done.stderr.split())
    assert json.loads(done.stdout.partition("\n}\n")[2])["total"]["row_count"] == most
    assert after - before < GROWTH


def save(folder, format, rows):
    """Writes zeros. They take as much space as any other numbers unless they are compressed."""
    folder.mkdir()
    logits, target = np.zeros((rows, CLASSES), np.float32), np.arange(rows) % CLASSES
    if format in OTHERS:
        return save_other(folder, format, logits, target)
    if format != "parquet":
        return write(folder, format, {"logits": logits, "target": target})
    table = pa.table({"logits": pa.FixedSizeListArray.from_arrays(logits.reshape(-1), CLASSES), "target": target})
    path = folder / "rows.parquet"
    parquet.write_table(table, path, row_group_size=rows, use_dictionary=False, compression="none")
    return path


def save_other(folder, format, logits, target):
    """Writes a file that is read by way of the disk, or a record batch of sequences of 256 positions."""
    if format == "column-major.npz":
        np.savez_compressed(folder / "rows.npz", logits=np.asfortranarray(logits), target=target)
        return folder / "rows.npz"
    arrays = {"logits": pa.FixedSizeListArray.from_arrays(logits.reshape(-1), CLASSES), "target": pa.array(target)}
    offsets = pa.array(np.arange(0, len(target) + 1, 256), pa.int32())
    table = pa.table({name: pa.ListArray.from_arrays(offsets, array) for name, array in arrays.items()})
    with pa.ipc.new_stream(folder / "rows.arrow", table.schema) as out:
        out.write_table(table)
    return folder / "rows.arrow"
