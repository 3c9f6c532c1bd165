"""Tables, the common form of Parquet, Arrow and CSV: from record batches to arrays."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyarrow.compute import list_value_length

from losswire_client._readers._columns import Array, ArrayFile, Column, SequenceColumn, Sequences, Shape
from losswire_client._readers._names import class_columns, numbered

NUMBERS, LISTS, LISTS_OF_LISTS = range(3)  # nesting depth of a column's numbers


class Table(Protocol):
    """Columns of one length.

    Attributes:
        schema: The names and types of the columns.
        row_count: The length of each column.
    """

    @property
    def schema(self) -> Any: ...

    @property
    def row_count(self) -> int: ...

    def batches(self, names: Sequence[str], rows: int, start: int) -> Iterator[Any]:
        """Some columns, from a row on, in record batches of about so many rows or fewer."""

    def number_count(self, name: str) -> int:
        """How many numbers the lists of a column have together. An empty list may count as one number."""

    def close(self) -> None: ...


class TableFile(ArrayFile):
    """A table as arrays: a column of numbers or of lists, or a column for each class."""

    errors = (pa.ArrowException, ValueError)

    def __init__(self, table: Table) -> None:
        self._table = table
        self._types = {field.name: field.type for field in table.schema}
        self._counts = Counter(table.schema.names)
        self._columns = {name: [name] for name in self._types}
        self.stored_names = list(self._columns)
        self._columns |= numbered(self.stored_names)
        self.names = self._columns.keys()

    def classes(self, pattern: str, others: Collection[str | None]) -> str:
        self._columns[pattern] = class_columns(self._table.schema.names, pattern, others)
        return pattern

    def column(self, name: str) -> Column:
        names = self._columns[name]
        depths = [self._depth(each) for each in names]
        if depths == [LISTS]:
            return ListColumn(self._table, name)
        if any(depths):
            raise ValueError(f"expected a number a row in {name}, got lists")
        return NumberColumn(self._table, names)

    def has_sequences(self, name: str) -> bool:
        return len(self._columns[name]) == 1 and self._depth(name) == LISTS_OF_LISTS

    def has_lists(self, name: str) -> bool:
        return len(self._columns[name]) == 1 and self._depth(name) == LISTS

    def sequences(self, name: str) -> SequenceColumn:
        if len(self._columns[name]) == 1 and self._depth(name) != NUMBERS:
            return ListSequences(self._table, name, self._depth(name))
        return super().sequences(name)

    def close(self) -> None:
        self._table.close()

    def _depth(self, name: str) -> int:
        if self._counts[name] > 1:
            raise ValueError(f"has several columns named {name}")
        kind, depth = _storage(self._types[name]), 0
        while is_list(kind):
            kind, depth = _storage(kind.value_type), depth + 1
        if depth > LISTS_OF_LISTS:
            raise ValueError(f"expected numbers, lists or lists of lists in {name}, got lists {depth} deep")
        return depth


class NumberColumn:
    """A column of numbers or of tensors of one shape, or several columns of numbers side by side."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._table = table
        self._names = names
        row = next(self.chunks(1), None)
        self.shape: Shape = (table.row_count, *(() if row is None else row.shape[1:]))

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        for first, part in _parts(self._table, self._names, rows, start):
            arrays = [_numbers(name, part.column(name), first) for name in self._names]
            yield arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)


class ListColumn:
    """A column of lists of one length."""

    def __init__(self, table: Table, name: str) -> None:
        self._name = name
        self._lists = ListSequences(table, name, LISTS)
        row = next(self._lists.chunks(1), None)
        self.shape = (table.row_count, 0 if row is None else int(row.lengths[0]))

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        for chunk in self._lists.chunks(rows, start):
            if (row := _first(chunk.lengths != self.shape[1])) is not None:
                problem = f"{self._name} has {chunk.lengths[row]} numbers at row {start + row}, and before it"
                raise ValueError(f"{problem} {self.shape[1]}")
            start += len(chunk.lengths)
            yield chunk.values.reshape(len(chunk.lengths), self.shape[1])


class ListSequences:
    """A column of lists that differ in length. Items are numbers, or lists of numbers that have one length."""

    inner: Shape | None = None

    def __init__(self, table: Table, name: str, depth: int) -> None:
        self._table = table
        self._name = name
        self._inner_length: int | None = None  # until a position is read
        self._nested = depth == LISTS_OF_LISTS
        self.row_count = table.row_count
        nonempty = (chunk for chunk in self.chunks(1) if len(chunk.values)) if self._nested else iter(())
        first = next(nonempty, None)
        self.item_shape: Shape = () if not self._nested else (0,) if first is None else first.values.shape[1:]
        self.position_count = table.number_count(name) // max(1, prod(self.item_shape))

    def chunks(self, rows: int, start: int = 0) -> Iterator[Sequences]:
        for first, part in _parts(self._table, [self._name], rows, start):
            array, lengths = self._unlisted(part.column(self._name), first)
            if self._nested:
                yield Sequences(self._items(array, lengths, first), lengths)
            else:
                yield Sequences(self._values(array, lengths, first), lengths)

    def _unlisted(self, array: Any, start: int) -> tuple[Any, Array]:
        array = _stored(array)
        if array.null_count:
            raise _valueless(self._name, f"row {start + _first_null(array)}")
        return array.flatten(), _lengths(array)

    def _values(self, array: Any, lengths: Array, start: int) -> Array:
        if array.null_count:
            raise _valueless(self._name, _place(lengths, _first_null(array), start))
        return _as_numpy(array)

    def _items(self, array: Any, lengths: Array, start: int) -> Array:
        """The lists at the positions. Each list has a number for each class."""
        array = _stored(array)
        if array.null_count:
            raise _valueless(self._name, _place(lengths, _first_null(array), start))
        counts = _lengths(array)
        if self._inner_length is None and len(counts):
            self._inner_length = int(counts[0])
        if (i := _first(counts != self._inner_length)) is not None:
            place = _place(lengths, i, start)
            raise ValueError(f"{self._name} has {counts[i]} numbers at {place}, and before it {self._inner_length}")
        values = array.flatten()
        if values.null_count:
            raise _valueless(self._name, _place(lengths, _first_null(values) // (self._inner_length or 1), start))
        return _as_numpy(values).reshape(len(counts), self._inner_length or 0)


def without_first(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """Record batches without so many rows at their beginning."""
    for batch in batches:
        if rows < batch.num_rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)


def _parts(table: Table, names: Sequence[str], rows: int, start: int) -> Iterator[tuple[int, Any]]:
    """Record batches of so many rows, from one on, and the number of their first row."""
    waiting, count = [], 0
    for batch in table.batches(names, rows, start):
        taken = 0
        while taken < batch.num_rows:
            waiting.append(batch.slice(taken, rows - count))
            taken += waiting[-1].num_rows
            count += waiting[-1].num_rows
            if count == rows:
                yield start, _joined(waiting)
                start, waiting, count = start + count, [], 0
    if waiting:
        yield start, _joined(waiting)


def _joined(batches: Sequence[Any]) -> Any:
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _numbers(name: str, array: Any, start: int) -> Array:
    if array.null_count:
        raise _valueless(name, f"row {start + _first_null(array)}")
    if isinstance(array, pa.FixedShapeTensorArray):
        tensors: Array = array.to_numpy_ndarray()
        return tensors
    return _as_numpy(_stored(array))


def _as_numpy(array: Any) -> Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _lengths(array: Any) -> Array:
    return np.asarray(list_value_length(array).to_numpy(zero_copy_only=False)).astype(np.int64)


def is_list(type: Any) -> bool:
    return any(is_(type) for is_ in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _storage(type: Any) -> Any:
    """The storage type of an extension type, such as a Hugging Face ``Array2D``."""
    known = isinstance(type, pa.FixedShapeTensorType)
    return type.storage_type if isinstance(type, pa.BaseExtensionType) and not known else type


def _stored(array: Any) -> Any:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _place(lengths: Array, position: int, start: int) -> str:
    ends = np.cumsum(lengths)
    row = int(np.searchsorted(ends, position, "right"))
    return f"row {start + row}, position {position - int(ends[row] - lengths[row])}"


def _first(condition: Array) -> int | None:
    return int(condition.argmax()) if condition.any() else None


def _first_null(array: Any) -> int:
    return int(array.is_null().index(True).as_py())


def _valueless(name: str, place: str) -> ValueError:
    return ValueError(f"{name} has no value at {place}")
