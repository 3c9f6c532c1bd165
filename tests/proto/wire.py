"""Protobuf's wire format, field by field, for messages that no careful writer would send."""

from hypothesis import strategies as st

VARINT, FIXED64, LENGTH_DELIMITED, GROUP_START, GROUP_END, FIXED32 = range(6)


def varint(value: int, overlong: int = 0) -> bytes:
    """A varint with so many bytes more than it needs, up to the longest varint."""
    value &= 2**64 - 1
    groups = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)] + [0] * overlong
    groups = groups[:10]
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def field(number: int, kind: int, value: int | bytes, overlong: int = 0) -> bytes:
    tag = varint(number << 3 | kind, overlong)
    if isinstance(value, int):
        return tag + varint(value, overlong)
    return tag + (varint(len(value), overlong) if kind == LENGTH_DELIMITED else b"") + value


def unknown_fields(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """Fields of any kind, with numbers that are in no contract."""
    return st.one_of(
        st.builds(field, numbers, st.just(VARINT), st.integers(0, 2**64 - 1)),
        st.builds(field, numbers, st.just(FIXED32), st.binary(min_size=4, max_size=4)),
        st.builds(field, numbers, st.just(FIXED64), st.binary(min_size=8, max_size=8)),
        st.builds(field, numbers, st.just(LENGTH_DELIMITED), st.binary(max_size=40)),
    )
