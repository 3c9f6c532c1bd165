"""``.parquet``, read a buffer at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyarrow import parquet

from losswire_client._readers._tables import TableFile

BUFFER_BYTES = 2**20  # for a column's pages: without it a whole row group is read, and a file may have only one group


class ParquetFile(TableFile):
    def __init__(self, path: Path) -> None:
        super().__init__(ParquetTable(path))


class ParquetTable:
    def __init__(self, path: Path) -> None:
        self._file = parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
        self.schema: Any = self._file.schema_arrow
        self.row_count: int = self._file.metadata.num_rows

    def batches(self, names: Sequence[str], rows: int) -> Iterator[Any]:
        yield from self._file.iter_batches(rows, columns=list(names))

    def number_count(self, name: str) -> int:
        metadata = self._file.metadata
        groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
        columns = (group.column(i) for group in groups for i in range(group.num_columns))
        return sum(c.num_values for c in columns if c.path_in_schema.split(".")[0] == name)

    def close(self) -> None:
        self._file.close()
