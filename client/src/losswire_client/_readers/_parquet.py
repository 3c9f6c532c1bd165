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
        table = ParquetTable(opened(path))
        super().__init__(table)
        self.is_seekable = len(table.group_rows) != 1


class ParquetTable:
    """An open file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._groups = list(range(file.num_row_groups))
        self.schema: Any = file.schema_arrow
        self.group_rows: list[int] = [group.num_rows for group in self._metadata()]
        self.row_count: int = sum(self.group_rows)

    def batches(self, names: Sequence[str], rows: int, start: int) -> Iterator[Any]:
        first, ends = 0, list(accumulate(self.group_rows))
        while first < len(ends) and ends[first] <= start:
            first += 1
        batches = self._file.iter_batches(rows, columns=list(names), row_groups=self._groups[first:])
        yield from without_first(batches, start - (ends[first - 1] if first else 0))

    def number_count(self, name: str) -> int:
        columns = (group.column(i) for group in self._metadata() for i in range(group.num_columns))
        return sum(c.num_values for c in columns if c.path_in_schema.split(".")[0] == name)

    def close(self) -> None:
        self._file.close()

    def _metadata(self) -> Iterator[Any]:
        return (self._file.metadata.row_group(number) for number in self._groups)


def opened(source: Any) -> Any:
    """A path, or an open file, as a Parquet file."""
    return parquet.ParquetFile(source, buffer_size=BUFFER_BYTES, pre_buffer=False)
