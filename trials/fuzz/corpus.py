"""The corpus: a file for each target, with a line for each input, compressed and in base64. The tests try them."""

import base64
import hashlib
import random
import zlib
from collections.abc import Iterable
from pathlib import Path

from trials.fuzz.targets import TARGETS

FOLDER = Path(__file__).with_name("corpus")
MAX_KEPT_BYTES = 2048  # of an input: nearly all that can be reached is reached by short ones
SEEDS = 60  # that every run has in addition, so that new options of requests are tried before the corpus knows them


def path_of(target: str) -> Path:
    return FOLDER / f"{target}.txt"


def load(target: str) -> list[bytes]:
    """The inputs of a target."""
    path = path_of(target)
    return [zlib.decompress(base64.b64decode(line)) for line in path.read_text().split()] if path.exists() else []


def save(target: str, inputs: Iterable[bytes]) -> None:
    """Writes the inputs of a target, the shortest first."""
    lines = sorted(
        {base64.b64encode(zlib.compress(data, 9)).decode() for data in inputs}, key=lambda line: (len(line), line)
    )
    path_of(target).write_text("".join(f"{line}\n" for line in lines))


def spread(target: str, folder: Path) -> None:
    """Writes the inputs and some seeds to a folder, one file each, for libFuzzer."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    write([*load(target), *(TARGETS[target].seed(rng) for _ in range(SEEDS))], folder)


def write(inputs: Iterable[bytes], folder: Path) -> None:
    """Writes inputs to a folder, one file each."""
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def gathered(folder: Path) -> list[bytes]:
    """The inputs of a folder that are short enough to be kept."""
    inputs = (path.read_bytes() for path in sorted(folder.iterdir()))
    return [data for data in inputs if len(data) <= MAX_KEPT_BYTES]
