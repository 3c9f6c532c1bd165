"""Keys of blocks of files: what they hang on."""

from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest

from losswire_client._keys import Reading, Terms, check_name, fingerprint, key_of, parsed, terms_of
from losswire_client._keys._contents import PIECE_BYTES, PIECES

LARGE = 4 * PIECES * PIECE_BYTES
CONTENT = np.random.default_rng(0).bytes(LARGE)
USUAL = Reading("logits", "target")


def print_of(*contents, **reading):
    return fingerprint(map(BytesIO, contents), USUAL._replace(**reading))


def test_keys_never_change():
    assert key_of("a.npz", print_of(b"abc"), 7) == "a.npz@b6beaf4b9e54:7"
    assert Terms().rows(32_000) == 524


def test_fingerprint_is_the_same_for_files_of_pyarrow():
    assert fingerprint([pa.BufferReader(CONTENT)], USUAL) == print_of(CONTENT)


@pytest.mark.parametrize("place", [0, LARGE - 1, (LARGE - PIECE_BYTES) // (PIECES - 1)])
def test_fingerprint_sees_what_is_sampled(place):
    other = bytearray(CONTENT)
    other[place] ^= 1
    assert print_of(other) != print_of(CONTENT)


def test_fingerprint_sees_sizes():
    contents = [(CONTENT,), (CONTENT + b"\0",), (b"ab", b"c"), (b"a", b"bc"), (b"abc",)]
    assert len({print_of(*each) for each in contents}) == len(contents)


def test_fingerprint_depends_on_all_of_the_reading():
    others = dict.fromkeys(Reading._fields, "other")
    prints = {print_of(b"abc", **{name: value}) for name, value in others.items()}
    assert len(prints | {print_of(b"abc")}) == len(Reading._fields) + 1


def test_what_is_as_usual_is_not_in_the_reading():
    assert USUAL.text == '{"input": "logits", "target": "target"}'


@pytest.mark.parametrize("name", ["a.npz", "de/a@0123456789ab:3.npz", "é:0"])
@pytest.mark.parametrize("end", ["", ":news", ":a:b"])
def test_key_tells_its_file(name, end):
    assert parsed(key_of(name, "0123456789ab", 30) + end) == (name, "0123456789ab")


@pytest.mark.parametrize("key", ["shard-7", "a.npz:0", "a.npz@0123:0", "@0123456789ab:0", "a@0123456789ab"])
def test_other_keys_tell_no_file(key):
    assert parsed(key) is None


@pytest.mark.parametrize("name", ["a\n.npz", "a\udcff.npz"])
def test_names_that_are_no_text_are_refused(name):
    with pytest.raises(ValueError, match="control characters"):
        check_name(name)


@pytest.mark.parametrize("terms", [Terms(7), Terms(7, "file"), Terms(None, "domain"), Terms()])
def test_terms_are_labels(terms):
    assert terms_of({"model": "7b", **terms.labels}) == terms


@pytest.mark.parametrize("rows", ["", "0", "-1", "ten"])
def test_size_of_blocks_must_be_a_number(rows):
    with pytest.raises(ValueError, match="its label block_rows is no number of rows"):
        terms_of({"block_rows": rows})


def test_slices_by_file_and_folder_are_no_arrays():
    assert [Terms(1, by).array for by in ("file", "folder", "domain", None)] == [None, None, "domain", None]
    assert [Terms(1, by).slice_of("de/a.npz", "de") for by in ("file", "folder", "domain")] == ["de/a.npz", "de", ""]
