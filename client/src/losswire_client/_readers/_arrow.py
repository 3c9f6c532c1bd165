"""``.arrow`` and ``.feather``: Arrow's stream and file formats. Files are mapped into memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from losswire_client._readers._tables import TableFile, is_list, without_first

FILE_MAGIC = b"ARROW1"


class ArrowFile(TableFile):
    """One table in one file, or in several files that continue each other."""

    def __init__(self, *paths: Path) -> None:
        super().__init__(ArrowTable(paths))


class ArrowTable:
    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.schema = _schema(paths[0])
        self._places = {name: i for i, name in enumerate(self.schema.names)}
        for path in paths[1:]:
            if not _schema(path).equals(self.schema):
                raise ValueError(f"has other columns in {path.name} than in {paths[0].name}")
        self.row_count = sum(batch.num_rows for batch in self._record_batches([]))

    def batches(self, names: Sequence[str], _rows: int, start: int) -> Iterator[Any]:
        return without_first(self._record_batches(names), start)

    def number_count(self, name: str) -> int:
        return sum(_numbers(batch.column(0)) for batch in self._record_batches([name]))

    def close(self) -> None:
        """Does nothing: a file is unmapped when its last batch is gone."""

    def _record_batches(self, names: Sequence[str]) -> Iterator[Any]:
        options = pa.ipc.IpcReadOptions(included_fields=[self._places[name] for name in names])
        for path in self._paths:
            with _mapped(path) as source:
                yield from _read(source, options)


def _numbers(array: Any) -> int:
    array = getattr(array, "storage", array)
    return _numbers(array.flatten()) if is_list(array.type) else len(array)


@contextmanager
def _mapped(path: Path) -> Iterator[Any]:
    """The mapped file. Errors name it, since a table may consist of several files."""
    try:
        with pa.memory_map(str(path)) as source:
            yield source
    except (pa.ArrowException, OSError) as error:  # pyarrow raises OSError for bytes that are no message
        raise ValueError(f"{path.name}: {error}") from error


def _schema(path: Path) -> Any:
    with _mapped(path) as source:
        return _open(source, None).schema


def _read(source: Any, options: Any) -> Iterator[Any]:
    reader = _open(source, options)
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
    return iter(reader)


def _open(source: Any, options: Any) -> Any:
    is_file = source.read(len(FILE_MAGIC)) == FILE_MAGIC
    source.seek(0)
    return (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source, options=options)
