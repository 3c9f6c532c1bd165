"""``.parquet``, read a buffer at a time."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pyarrow import parquet

from losswire_client._readers._tables import TableFile, without_first

BUFFER_BYTES = 2**20  # for a column's pages: without it a whole row group is read, and a file may have only one group


class ParquetFile(TableFile):
    def __init__(self, path: Path) -> None:
        table = ParquetTable(path)
        super().__init__(table)
        self.is_seekable = len(table.group_rows) != 1


class ParquetTable:
    def __init__(self, path: Path) -> None:
        self._file = parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
        self.schema: Any = self._file.schema_arrow
        metadata = self._file.metadata
        self.row_count: int = metadata.num_rows
        self.group_rows: list[int] = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    def batches(self, names: Sequence[str], rows: int, start: int) -> Iterator[Any]:
        first, ends = 0, list(accumulate(self.group_rows))
        while first < len(ends) and ends[first] <= start:
            first += 1
        groups = list(range(first, len(ends)))
        batches = self._file.iter_batches(rows, columns=list(names), row_groups=groups)
        yield from without_first(batches, start - (ends[first - 1] if first else 0))

    def number_count(self, name: str) -> int:
        metadata = self._file.metadata
        groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
        columns = (group.column(i) for group in groups for i in range(group.num_columns))
        return sum(c.num_values for c in columns if c.path_in_schema.split(".")[0] == name)

    def close(self) -> None:
        self._file.close()
