"""The answer to one request, whose large tensors are not in a message yet."""

from typing import NamedTuple

from torch import Tensor

from losswire import v1
from losswire.payloads import LEAST_BYTES, write_with
from losswire_server.requests.encoding import describe, elements, fill


class Answer(NamedTuple):
    """An answer.

    Attributes:
        response: With all numbers, and with small tensors.
        large: Other tensors, with the names of their fields.
    """

    response: v1.EvaluateResponse
    large: list[tuple[str, Tensor]]

    def add(self, field: str, tensor: Tensor) -> None:
        if tensor.nbytes < LEAST_BYTES:
            fill(getattr(self.response, field), tensor)
        else:
            self.large.append((field, tensor))

    def to_bytes(self) -> bytes:
        """The bytes of the whole message. Each element is copied once."""
        forms = [v1.Tensor() for _ in self.large]
        for form, (_, tensor) in zip(forms, self.large, strict=True):
            describe(form, tensor)
        large = zip(forms, self.large, strict=True)
        return write_with(self.response, [(field, form, elements(tensor)) for form, (field, tensor) in large])

    def message(self) -> v1.EvaluateResponse:
        """The whole message, for one that is part of another."""
        for field, tensor in self.large:
            fill(getattr(self.response, field), tensor)
        self.large.clear()
        return self.response
