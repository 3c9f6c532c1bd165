"""Output layers as callers hand them in: their arrays, and the digest that names them."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.dtypes import FLOATING, of_numpy
from losswire.errors import FieldError
from losswire.heads.content import KINDS, digest_of
from losswire.heads.rules import check_head
from losswire_client._calls import checks_call, checks_construction
from losswire_client._errors import InvalidArgumentError, invalid_argument, shown
from losswire_client._request.arrays import floating_array
from losswire_client._request.fields import NUMBER, assign, assign_to, check_choice
from losswire_client._request.foreign_arrays import detached

KINDS_BY_NAME = {name: kind for kind, name in KINDS.items()}


@checks_construction
@dataclass(frozen=True, eq=False)
class Norm:
    """How a head normalises hidden states first.

    Attributes:
        kind: ``rms``, as in ``torch.nn.RMSNorm``, or ``layer``, as in ``torch.nn.LayerNorm``.
        eps: What is added to the mean square, or to the variance.
        weight: Factors, of shape (H), in a floating dtype; ones if None.
        bias: What is added, of shape (H); zeros if None. Only with ``layer``.
    """

    kind: str
    eps: float
    weight: npt.ArrayLike | None = None
    bias: npt.ArrayLike | None = None


class Head:
    """An output layer: what makes logits of a model's hidden states.

    The logits of a hidden state x are z / temperature, with z = softcap tanh(y / softcap), or y without a softcap, and
    y = weight norm(x) + bias. A head never changes, and gets no gradient: it is named by the SHA-256 of its content.

    Arrays are taken without a copy where that is possible, and hashed at once, which takes a second or two for each
    gigabyte. Whoever writes to them afterwards changes no results: the digest stays that of the numbers that were
    handed in, and servers hold these. Only a server that lacks the head then refuses what it gets.

    Args:
        weight: Of shape (V, H), for V classes and hidden states of H numbers: float64, float32, float16 or bfloat16,
            of numpy, PyTorch, JAX or any library that shares memory.
        bias: Of shape (V); zeros if None.
        norm: What is done to hidden states first; nothing if None.
        softcap: Bounds logits between its negative and itself; nothing does if None.
        temperature: What logits are divided by; 1 if None.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.

    Attributes:
        digest: SHA-256 of its content, in hexadecimal, by which servers name it.
    """

    digest: str
    _form: v1.Head
    _arrays: Mapping[str, npt.NDArray[Any]]

    @checks_call
    def __init__(
        self,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        norm: Norm | None = None,
        softcap: float | None = None,
        temperature: float | None = None,
    ) -> None:
        if not isinstance(norm, Norm | None):
            raise invalid_argument("norm", f"expected a Norm or None, got {shown(norm)}")
        given = {"weight": weight, "bias": bias}
        if norm is not None:
            given |= {"norm.weight": norm.weight, "norm.bias": norm.bias}
        arrays = {name: _array(name, value) for name, value in given.items() if value is not None or name == "weight"}
        form = _form(arrays, norm, softcap, temperature)
        vars(self).update(_arrays=arrays, _form=form, digest=_digest(form, arrays))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} of a Head cannot be set: a head never changes, so make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} of a Head cannot be deleted: a head never changes")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a head from safetensors, and only its own tensors. Needs the extra ``heads``.

        Args:
            path: A folder with a checkpoint of Hugging Face's Transformers, in one file or in parts with an index: its
                output layer, or its embedding if the two are tied, and its final norm are read. Or a file with the
                tensors ``weight``, ``bias``, ``norm.weight`` and ``norm.bias``, whose metadata have the texts ``norm``,
                ``norm_eps``, ``softcap`` and ``temperature``: only ``weight`` is required.

        Raises:
            InvalidArgumentError: There is no such file or folder, or no head is found in it.
            ImportError: The extra is not installed.
        """
        from losswire_client._readers.heads import read_head  # which needs an extra

        found = read_head(path)
        norm = Norm(**found.norm) if found.norm else None
        try:
            return cls(found.weight, found.bias, norm=norm, softcap=found.softcap, temperature=found.temperature)
        except InvalidArgumentError as error:  # which names the tensor or the number, and not the file
            raise invalid_argument("path", f"{os.fspath(path)!r}: {error}") from error

    @property
    def form(self) -> v1.Head:
        """Its message, without elements: a copy."""
        form = v1.Head()
        form.CopyFrom(self._form)
        return form

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Its arrays, by their names in the content: ``weight``, ``bias``, ``norm.weight`` and ``norm.bias``.

        They are views that cannot be written to.
        """
        views = {name: array.view() for name, array in self._arrays.items()}
        for view in views.values():
            view.flags.writeable = False
        return views

    @property
    def elements(self) -> Mapping[str, memoryview]:
        """The bytes of its arrays as they travel, in their order, as views."""
        return {name: _bytes(array) for name, array in self.arrays.items()}

    @property
    def class_count(self) -> int:
        """V: how many classes it has."""
        return int(self._form.weight.shape[0])

    @property
    def width(self) -> int:
        """H: how many numbers a hidden state has."""
        return int(self._form.weight.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return sum(array.nbytes for array in self._arrays.values())

    def __repr__(self) -> str:
        dtype = self._arrays["weight"].dtype.name
        return f"<Head of {self.class_count} classes and width {self.width} in {dtype}, {self.nbytes} bytes>"


def named_head(argument: str, value: object) -> tuple[str, Head | None]:
    """The name by which a request names a head, and the head if it was handed in itself."""
    if isinstance(value, Head):
        return value.digest, value
    if isinstance(value, str):
        return value, None
    error = invalid_argument(argument, f"expected a Head, or digest or alias of one, got {shown(value)}")
    if hasattr(value, "weight"):
        error.hint = "make one of a layer, as in Head(layer.weight, layer.bias)"
    elif len(getattr(value, "shape", ())) == 2:
        error.hint = "make one of a weight, as in Head(weight, bias)"
    raise error


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    """The elements as they travel: row-major, little-endian."""
    array = floating_array(name, detached(value))
    element = of_numpy(array.dtype)
    if element is None or not element.floating:
        raise invalid_argument(name, f"expected one of the dtypes {', '.join(FLOATING)}, got {array.dtype}")
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _digest(form: v1.Head, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    return digest_of(form, {name: hashlib.sha256(_bytes(array)).hexdigest() for name, array in arrays.items()})


def _form(arrays: Mapping[str, npt.NDArray[Any]], norm: Norm | None, softcap: object, temperature: object) -> v1.Head:
    form = v1.Head()
    if norm is not None:
        check_choice("norm.kind", norm.kind, KINDS_BY_NAME)
        form.norm.kind = KINDS_BY_NAME[norm.kind]
        assign_to(form.norm, "eps", "norm.eps", norm.eps, NUMBER)
    for name, number in (("softcap", softcap), ("temperature", temperature)):
        if number is not None:
            assign(form, name, number, NUMBER)
    for name, array in arrays.items():
        owner: Any = form.norm if name.startswith("norm.") else form
        tensor = getattr(owner, name.removeprefix("norm."))
        element = of_numpy(array.dtype)
        tensor.dtype = v1.Dtype.DTYPE_UNSPECIFIED if element is None else element.wire
        tensor.shape.extend(array.shape)
    try:
        check_head(form)
    except FieldError as error:
        raise invalid_argument(error.field.removeprefix("head."), error.problem) from error
    return form
