"""Files of a run with its keys, written while the keys come."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from google.protobuf.json_format import MessageToDict

from losswire.exact_sums import ExactSums
from losswire_client import RunKey
from losswire_client.cli._failures import naming
from losswire_client.cli._output import NewFile, json_text
from losswire_client.cli.runs._facts import Facts, of_totals, told_time

TABLE_ROWS = 10_000  # that are written together


class KeyFile(Protocol):
    def add(self, key: RunKey) -> None: ...

    def close(self, run: Facts, sums: ExactSums) -> None:
        """Writes what else the run has. Without this call the file is not kept."""


@contextmanager
def new_key_file(path: Path, format: str) -> Iterator[KeyFile]:
    """A file that gets its name when it is complete: see `NewFile`. Standard output for ``-``."""
    kind = JsonFile if format == "json" else ParquetFile
    if str(path) == "-":
        yield kind(sys.stdout.buffer)
        sys.stdout.flush()
        return
    file = NewFile(path)
    try:
        with naming(path):
            with file.place.open("wb") as stream:
                yield kind(stream)
            file.keep()
    finally:
        file.discard()


class JsonFile:
    """An object with the keys, a line each, and then all else."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lead = '{"keys": [\n'

    def add(self, key: RunKey) -> None:
        line = {**_key_facts(key), "committed": told_time(key.committed), "exact": exact_json(key.sums)}
        self._write(self._lead + json_text(line, indent=None))
        self._lead = ",\n"

    def close(self, run: Facts, sums: ExactSums) -> None:
        start = "" if self._lead == ",\n" else self._lead
        rest = json_text({**run, "exact": exact_json(sums)}, indent=None)
        self._write(f"{start}\n],\n{rest.removeprefix('{')}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text.encode())


class ParquetFile:
    """A table of the keys, with all else in its metadata."""

    def __init__(self, stream: IO[bytes]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        texts = {"key": pa.string(), "slice": pa.string(), "committed": pa.timestamp("us", "UTC")}
        numbers = ("mean", "standard_error", "perplexity", "accuracy", "loss_sum", "weight_sum")
        counts = ("row_count", "ignored_count", "nonfinite_count")
        types = {**texts, **dict.fromkeys(numbers, pa.float64()), **dict.fromkeys(counts, pa.int64())}
        self._schema = pa.schema({**types, "exact": pa.binary()})
        self._writer = parquet.ParquetWriter(stream, self._schema)
        self._lines: list[Facts] = []

    def add(self, key: RunKey) -> None:
        exact = key.sums.to_message().SerializeToString(deterministic=True)
        self._lines.append({**_key_facts(key), "committed": key.committed, "exact": exact})
        if len(self._lines) == TABLE_ROWS:
            self._write()

    def close(self, run: Facts, sums: ExactSums) -> None:
        self._write()
        content = json_text({**run, "exact": exact_json(sums)}, indent=None)
        self._writer.add_key_value_metadata({"losswire.run": content})
        self._writer.close()

    def _write(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._lines, schema=self._schema))
        self._lines.clear()


def exact_json(sums: ExactSums) -> dict[str, Any]:
    """Exact sums in Protobuf's JSON."""
    message: dict[str, Any] = MessageToDict(sums.to_message(), preserving_proto_field_name=True)
    return message


def _key_facts(key: RunKey) -> Facts:
    numbers = of_totals(key, perplexity=True)
    del numbers["key_count"]
    return {"key": key.key, "slice": key.slice, **numbers}
