"""The rules of runs: their names and keys, what their losses may be, and the digest by which losses are compared."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from losswire import v1
from losswire.dtypes import FLOATING
from losswire.errors import FieldError
from losswire.forms import DEFAULTS, check_smoothing
from losswire.losses import LOSSES, is_weighted_by_targets, loss_of, options_of
from losswire.tensors import read, read_form

NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")
NAME_TOLD = "1 to 200 letters, digits and any of _.:/-"
MOST_KEY_BYTES = 512
MOST_LABELS = 64
MOST_LABEL_BYTES = 1024
MOST_LABEL_NAME_BYTES = 64
MOST_SHOWN = 100  # characters of a wrong name
UNTOLD_DEFAULTS = {"z_loss"}  # of an option that came later: digests from before it must stay
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_name(name: str, field: str = "name") -> None:
    """Checks the name of a run.

    Raises:
        FieldError: It is none.
    """
    if not NAME.fullmatch(name):
        raise FieldError(field, f"expected {NAME_TOLD}, got {name[:MOST_SHOWN]!r}")


def check_run_key(run_key: v1.RunKey, most_bytes: int = MOST_KEY_BYTES) -> None:
    """Checks the names in a key.

    Raises:
        FieldError: One of them is wrong.
    """
    check_name(run_key.run, "run_key.run")
    if not run_key.key:
        raise FieldError("run_key.key", "expected one, got an empty text")
    check_key(run_key.key, "run_key.key", most_bytes)
    check_key(run_key.slice, "run_key.slice", most_bytes)


def check_key(key: str, field: str, most_bytes: int = MOST_KEY_BYTES) -> None:
    """Checks the name of a key or slice, which may be empty.

    Raises:
        FieldError: It is too long, or has control characters.
    """
    size = len(key.encode())
    if size > most_bytes:
        raise FieldError(field, f"expected at most {most_bytes} bytes of UTF-8, got {size}")
    if CONTROL.search(key):
        raise FieldError(field, f"expected no control characters, got {key[:MOST_SHOWN]!r}")


def check_new_run(request: v1.CreateRunRequest) -> None:
    """Checks a run before it is created.

    Raises:
        FieldError: A field is wrong.
    """
    check_name(request.name)
    if not loss_of(request.spec):
        raise FieldError("spec.loss", f"expected one of {', '.join(LOSSES)}, got none")
    check_run_spec(request.spec)
    if request.expected_key_count < 0:
        raise FieldError("expected_key_count", f"expected at least 0, got {request.expected_key_count}")
    _check_labels(request)


def check_run_spec(spec: v1.LossSpec) -> None:
    """Checks that a loss with its options is the same for all rows, whatever batch they are in.

    Raises:
        FieldError: A weight depends on the batch, does not lie in the message, or fits no batch.
    """
    loss = loss_of(spec)
    if is_weighted_by_targets(spec):
        problem = "expected weights for a run, since computed ones would depend on how rows are put into keys"
        raise FieldError(f"spec.{loss}.weighting", problem)
    for field, value in options_of(spec).ListFields():
        if field.message_type is not None:
            _check_weight(value, f"spec.{loss}.{field.name}", of_classes=not LOSSES[loss].elementwise)
    check_smoothing(spec)


def spec_digest(spec: v1.LossSpec) -> str:
    """SHA-256 of a loss and its options, in hexadecimal: of JSON with sorted names, and tensors by their own digests.

    The reduction, and what `mean` is if no row counts, change no sum and are left out. An option that is not set is the
    same as its default.

    Args:
        spec: It passes `check_run_spec`.

    Raises:
        FieldError: A tensor's dtype, shape and elements do not match.
    """
    return hashlib.sha256(json.dumps(_comparable(spec), sort_keys=True).encode()).hexdigest()


def spec_difference(kept: v1.LossSpec, came: v1.LossSpec) -> tuple[str, str] | None:
    """The first field in which a loss with its options differs from another one, and how; None if none does.

    Raises:
        FieldError: As `spec_digest`.
    """
    ours, theirs = _comparable(kept), _comparable(came)
    for name in ("loss", *(ours | theirs)):
        if ours.get(name) != theirs.get(name):
            field = "loss" if name == "loss" else f"{theirs['loss']}.{name}"
            return f"spec.{field}", f"has {_told(ours.get(name))}, got {_told(theirs.get(name))}"
    return None


def label_difference(kept: Mapping[str, str], came: Mapping[str, str]) -> str:
    """The first of the labels in which a run differs from those that came, and how."""
    name = next(name for name in sorted({*kept, *came}) if kept.get(name) != came.get(name))
    there, here = (f"{name}={of[name][:MOST_SHOWN]!r}" if name in of else f"no {name}" for of in (kept, came))
    return f"has {there}, got {here}"


def _comparable(spec: v1.LossSpec) -> dict[str, Any]:
    """What two losses are compared by: values of JSON, by the names of their options."""
    loss = loss_of(spec)
    options = {name: DEFAULTS[name] for name in LOSSES[loss].options.intersection(DEFAULTS) - UNTOLD_DEFAULTS}
    for field, value in options_of(spec).ListFields():
        is_tensor = field.message_type is not None
        options[field.name] = _tensor(value, f"spec.{loss}.{field.name}") if is_tensor else _one_zero(value)
    return {"loss": loss, **options}


def _tensor(tensor: v1.Tensor, field: str) -> list[Any]:
    element, shape, data = read(tensor, field)
    return [element.name, list(shape), hashlib.sha256(data).hexdigest()]


def _one_zero(number: float) -> float:
    """The number, with 0.0 in place of -0.0: the loss is the same."""
    return 0.0 if isinstance(number, float) and number == 0 else number


def _told(value: Any) -> str:
    if isinstance(value, list):
        dtype, shape, digest = value
        return f"{dtype} of shape {tuple(shape)} with SHA-256 {digest[:8]}..."
    return "none" if value is None else str(value)


def _check_weight(tensor: v1.Tensor, path: str, *, of_classes: bool) -> None:
    if tensor.HasField("shared_memory") or (not tensor.data and 0 not in tensor.shape):
        raise FieldError(path, "expected the elements in the message, for a run")
    element, shape = read_form(tensor, path)
    if not element.floating:
        raise FieldError(path, f"expected one of the dtypes {', '.join(FLOATING)}, got {element.name}")
    if of_classes and len(shape) != 1:
        raise FieldError(path, f"expected shape (C), one number a class, got {shape}")


def _check_labels(request: v1.CreateRunRequest) -> None:
    if len(request.labels) > MOST_LABELS:
        raise FieldError("labels", f"expected at most {MOST_LABELS}, got {len(request.labels)}")
    for name, value in request.labels.items():
        if not 0 < len(name.encode()) <= MOST_LABEL_NAME_BYTES:
            came = len(name.encode())
            raise FieldError("labels", f"expected names of 1 to {MOST_LABEL_NAME_BYTES} bytes of UTF-8, got {came}")
        check_key(name, "labels")
        if (size := len(value.encode())) > MOST_LABEL_BYTES:
            raise FieldError("labels", f"expected at most {MOST_LABEL_BYTES} bytes of UTF-8 for {name!r}, got {size}")
        if "\0" in value:
            raise FieldError("labels", f"expected text without NUL for {name!r}")
