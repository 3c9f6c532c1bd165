"""Sums as bytes: messages of the contract, so that the form on disk is documented and never changes."""

from losswire import v1
from losswire.exact_sums import ExactSums


def to_bytes(sums: ExactSums) -> bytes:
    return sums.to_message().SerializeToString()


def from_bytes(data: bytes) -> ExactSums:
    return ExactSums.from_message(v1.ExactSums.FromString(data))
