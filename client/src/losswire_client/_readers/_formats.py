"""Finds the reader of a file. Recognizes files whose content does not fit their name."""

import json
import zipfile
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, cast

from losswire_client._readers._columns import ArrayFile

INDEX = ".safetensors.index.json"

EMPTY, TEXT, UNKNOWN = "empty", "text", "of no known format"
NPY, ZIP, SAFETENSORS, PARQUET = "a .npy file", "a zip", "a safetensors file", "a Parquet file"
ARROW_FILE, ARROW_STREAM = "an Arrow file", "an Arrow stream"
BASE = "a base file of llama.cpp, which losswire compare reads"
JSON, HTML, LFS = "JSON", "a web page", "a Git LFS pointer, which git lfs pull replaces by the file"


class Format(NamedTuple):
    """A reader, by its module and name, and the contents that it reads."""

    reader: str
    contents: tuple[str, ...]


_ARROW = Format("_arrow:ArrowFile", (ARROW_FILE, ARROW_STREAM))
_CSV = Format("_csv:CsvFile", (TEXT,))
_PARQUET = Format("_parquet:ParquetFile", (PARQUET,))
FORMATS = {
    ".npz": Format("_npz:NpzFile", (ZIP,)),
    ".npy": Format("_npy:NpyFolder", (NPY,)),
    ".safetensors": Format("_safetensors:SafetensorsFile", (SAFETENSORS,)),
    ".parquet": _PARQUET,
    ".pq": _PARQUET,
    ".arrow": _ARROW,
    ".arrows": _ARROW,
    ".ipc": _ARROW,
    ".feather": _ARROW,
    ".csv": _CSV,
    ".tsv": _CSV,
    INDEX: Format("_safetensors:SafetensorsIndex", (JSON,)),
}

SIGNATURES = {
    b"version https://git-lfs.github.com/spec/": LFS,
    b"\x93NUMPY": NPY,
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,
    b"PAR1": PARQUET,
    b"_logits_": BASE,
    b"ARROW1": ARROW_FILE,
    b"\xff\xff\xff\xff": ARROW_STREAM,
    b"FEA1": "a Feather file of version 1, which pyarrow no longer writes",
    b"\xff\xfe": "text in UTF-16",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}
ENDS = {PARQUET: b"PAR1", ARROW_FILE: b"ARROW1", ARROW_STREAM: b"\xff\xff\xff\xff\x00\x00\x00\x00"}
CONTROLS = set(range(32)) - set(b"\t\n\f\r")  # no text has these, whatever its encoding
HEAD_BYTES = 1024


def format_of(path: Path) -> Format | None:
    """The format of a file, by the end of its name."""
    return FORMATS.get(_suffix(path))


def open_files(*paths: Path) -> ArrayFile:
    """Opens a file, or several files of one kind that belong together. Loads the library that reads them.

    Raises:
        ValueError: A file has no known name, or is not what its name says.
    """
    for path in paths:
        try:
            _check_contents(path)
        except ValueError as error:
            raise error if len(paths) == 1 else ValueError(f"{path.name} {error}") from error
    reader: Any = resolve_name(f"{__package__}.{FORMATS[_suffix(paths[0])].reader}")
    try:
        return cast(ArrayFile, reader(*paths))
    except reader.errors as error:
        raise ValueError(str(error)) from error


def _suffix(path: Path) -> str:
    return INDEX if path.name.lower().endswith(INDEX) else path.suffix.lower()


def _check_contents(path: Path) -> None:
    known = format_of(path)
    if known is None:
        is_ = f", and it is {contents(path)}" if path.is_file() else ""
        raise ValueError(f"expected a name that ends in {', '.join(FORMATS)}{is_}")
    found = contents(path)
    if found not in known.contents:
        raise ValueError(f"is {found}, expected {' or '.join(known.contents)}")
    if _is_cut_short(path, found):
        raise ValueError(f"is {found} that ends early: it was cut short, or never written to its end")


def contents(path: Path) -> str:
    """The kind of a file, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return EMPTY
    known = next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), None)
    if known == ZIP:
        return _kind_of_zip(path)
    if known:
        return known
    return SAFETENSORS if head[8:10] == b'{"' else _kind_of_text(head)


def _kind_of_zip(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return ZIP
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return "a file of torch.save" if any(name.endswith("/data.pkl") for name in names) else ZIP


def _kind_of_text(head: bytes) -> str:
    if not CONTROLS.isdisjoint(head):
        return UNKNOWN
    text = head.decode(errors="replace").removeprefix("\ufeff").lstrip().lower()
    if text.startswith(("<!doctype html", "<html")):
        return HTML
    return JSON if text.startswith(("{", "[")) else TEXT


def _is_cut_short(path: Path, found: str) -> bool:
    if found == ZIP:
        return not zipfile.is_zipfile(path)
    if found == SAFETENSORS:
        return path.stat().st_size < _safetensors_size(path)
    with path.open("rb") as file:
        file.seek(-min(16, path.stat().st_size), 2)
        return not file.read().endswith(ENDS.get(found, b""))


def _safetensors_size(path: Path) -> int:
    """The size that the file should have by its header: https://github.com/huggingface/safetensors#format."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if path.stat().st_size < 8 + length:
            return 8 + length
        try:
            tensors = [tensor for name, tensor in json.loads(file.read(length)).items() if name != "__metadata__"]
            return 8 + length + max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
        except (AttributeError, KeyError, TypeError, ValueError):
            return 0  # the library says what is wrong
