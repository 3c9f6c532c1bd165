"""Changes fields of messages at random, so that mutations of bytes do not all end where a length is wrong."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.errors import FieldError
from losswire.parsing import parse

NUMBERS = (0, 1, -1, 2, 5, 127, 128, 4096, 65536, 65537, 2**31 - 1, 2**31, 2**40, 2**61, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, 0.5, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan)
REPEATS = (1, 1, 1, 1, 1, 30, 2000)
MAX_FILLED_BYTES = 2**14

Mutate = Callable[[bytes, random.Random], bytes]


def mutated(data: bytes, rng: random.Random, message: type[Message] = v1.EvaluateRequest) -> bytes:
    """The bytes of a message with some fields changed; bytes that are none get some of their own changed."""
    try:
        parsed = parse(message, data)
    except (DecodeError, FieldError):
        return changed_bytes(data, rng)
    for _ in range(rng.randint(1, 4)):
        _change_field(parsed, rng)
    if isinstance(parsed, v1.EvaluateRequest) and rng.random() < 0.6:
        _fit_data(parsed)
    return parsed.SerializeToString()


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of the data overwritten, inserted, removed or doubled."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randint(0, len(changed))
        length = rng.choice((0, 1, 1, 2, 4, 8, 64))
        other = rng.randint(0, len(changed))
        new = rng.choice(
            (rng.randbytes(length), bytes(length), b"\xff" * length, bytes(changed[other : other + length]))
        )
        changed[place : place + rng.choice((0, length))] = new
    return bytes(changed)


def _change_field(message: Message, rng: random.Random) -> None:
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    field: FieldDescriptor = rng.choice(fields)
    if field.message_type is not None and not field.is_repeated:
        if message.HasField(field.name) or rng.random() < 0.3:
            inner = getattr(message, field.name)
            inner.SetInParent()
            _change_field(inner, rng)
        return
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.is_repeated:
        _change_elements(getattr(message, field.name), field, rng)
    else:
        setattr(message, field.name, _value(field, getattr(message, field.name), rng))


def _change_elements(values: Any, field: FieldDescriptor, rng: random.Random) -> None:
    if field.message_type is not None:
        return
    place = rng.randint(0, len(values))
    if values and rng.random() < 0.5:
        values[place % len(values)] = _value(field, values[place % len(values)], rng)
        return
    del values[place : place + rng.randint(0, 2)]
    values.extend([_value(field, 0, rng)] * rng.choice(REPEATS))


def _value(field: FieldDescriptor, now: Any, rng: random.Random) -> Any:
    kinds: dict[int, Callable[[], Any]] = {
        FieldDescriptor.TYPE_INT64: lambda: rng.choice((rng.choice(NUMBERS), _near(now, rng), rng.randint(0, 8))),
        FieldDescriptor.TYPE_ENUM: lambda: rng.choice((rng.randint(0, 10), rng.randint(0, 10), -1, 99, 2**31 - 1)),
        FieldDescriptor.TYPE_INT32: lambda: rng.choice((rng.randint(0, 8), 256, 257, -1, 2**31 - 1)),
        FieldDescriptor.TYPE_BOOL: lambda: not now,
        FieldDescriptor.TYPE_DOUBLE: lambda: rng.choice((*FLOATS, rng.random())),
        FieldDescriptor.TYPE_STRING: lambda: rng.choice(("", "r", "a/b.c", "é", " ", "x" * 65, now + "r")),
        FieldDescriptor.TYPE_BYTES: lambda: changed_bytes(now, rng),
    }
    return kinds[field.type]()


def _near(now: int, rng: random.Random) -> int:
    return max(-(2**63), min(2**63 - 1, now + rng.choice((-8, -1, 1, 8))))


def _fit_data(request: v1.EvaluateRequest) -> None:
    """Gives tensors as many bytes as their shapes need, so that the mutation is not refused for this alone."""
    for tensor in _tensors(request):
        element = BY_WIRE.get(tensor.dtype)
        if element is None or len(tensor.shape) > 64 or any(size < 0 for size in tensor.shape):
            continue
        size = math.prod(tensor.shape) * element.itemsize
        if size <= MAX_FILLED_BYTES and tensor.WhichOneof("storage") == "data" and len(tensor.data) != size:
            tensor.data = (tensor.data or b"\0") * (size // len(tensor.data or b"\0")) + tensor.data[
                : size % max(1, len(tensor.data))
            ]


def _tensors(message: Message) -> Sequence[v1.Tensor]:
    found: list[v1.Tensor] = []
    for field, value in message.ListFields():
        if isinstance(value, v1.Tensor):
            found.append(value)
        elif field.message_type is not None and not field.is_repeated:
            found += _tensors(value)
    return found
