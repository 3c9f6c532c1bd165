"""The rules for the form of a head, for its digest and for its aliases."""

import re

from losswire import v1
from losswire.dtypes import FLOATING
from losswire.errors import FieldError
from losswire.forms.numbers import LEAST, problem_of
from losswire.heads.content import kind_of, tensors_of
from losswire.tensors import read_form

DIGEST = re.compile(r"[0-9a-f]{64}")
ALIAS = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")
ALIAS_TOLD = "1 to 200 letters, digits and any of _.:/-"
MOST_SHOWN = 100  # characters of a wrong name
MOST_CLASSES = 2**31 - 1  # classes are counted in 32 bits by the kernels


def is_digest(name: str) -> bool:
    """Whether a name is a digest. All other names are aliases."""
    return DIGEST.fullmatch(name) is not None


def check_digest(name: str, field: str) -> None:
    """Checks that a name is a digest.

    Raises:
        FieldError: It is none.
    """
    if not is_digest(name):
        raise FieldError(field, f"expected a SHA-256, 64 hexadecimal digits in small letters, got {_shown(name)}")


def check_alias(name: str, field: str) -> None:
    """Checks that a name may be an alias.

    Raises:
        FieldError: It may not, or is a digest.
    """
    if is_digest(name):
        raise FieldError(field, f"expected an alias, got a digest, {name}")
    if not ALIAS.fullmatch(name):
        raise FieldError(field, f"expected {ALIAS_TOLD}, got {_shown(name)}")


def check_name(name: str, field: str) -> None:
    """Checks that a name is a digest or an alias.

    Raises:
        FieldError: It is neither.
    """
    if not ALIAS.fullmatch(name):
        raise FieldError(field, f"expected a digest, or an alias of {ALIAS_TOLD}, got {_shown(name)}")


def check_head(head: v1.Head, field: str = "head") -> None:
    """Checks the form of a head. Elements are not read.

    Raises:
        FieldError: A dtype, a shape or a number is wrong.
    """
    if not head.HasField("weight"):
        raise FieldError(f"{field}.weight", "expected a tensor of shape (V, H), got nothing")
    dtypes = {name: _check_floating(tensor, f"{field}.{name}") for name, tensor in tensors_of(head).items()}
    _check_shapes(head, field)
    for name, dtype in dtypes.items():
        if (dtype == "float64") != (dtypes["weight"] == "float64"):
            expected = f"expected float64 if the weight is, and only then; the weight is {dtypes['weight']}"
            raise FieldError(f"{field}.{name}", f"{expected}, got {dtype}")
    if head.HasField("norm"):
        _check_norm(head.norm, f"{field}.norm")
    if head.HasField("softcap"):
        _check_number(head.softcap, f"{field}.softcap")
    if head.HasField("temperature"):
        _check_number(head.temperature, f"{field}.temperature")


def _check_floating(tensor: v1.Tensor, field: str) -> str:
    element, _ = read_form(tensor, field)
    if not element.floating:
        raise FieldError(field, f"expected one of the dtypes {', '.join(FLOATING)}, got {element.name}")
    return element.name


def _check_shapes(head: v1.Head, field: str) -> None:
    shape = tuple(head.weight.shape)
    if len(shape) != 2 or min(shape) < 1 or shape[0] > MOST_CLASSES:
        problem = f"expected shape (V, H), both above 0, and V at most {MOST_CLASSES}"
        raise FieldError(f"{field}.weight", f"{problem}, got {shape}")
    classes, width = shape
    expected = {"bias": (classes, "V"), "norm.weight": (width, "H"), "norm.bias": (width, "H")}
    for name, tensor in tensors_of(head).items():
        if name != "weight" and tuple(tensor.shape) != (expected[name][0],):
            length, letter = expected[name]
            problem = f"expected shape ({letter}), here ({length},), got {tuple(tensor.shape)}"
            raise FieldError(f"{field}.{name}", problem)


def _check_norm(norm: v1.Norm, field: str) -> None:
    kind_of(norm, f"{field}.kind")
    _check_number(norm.eps, f"{field}.eps", least=0)
    if norm.HasField("bias") and norm.kind != v1.NormKind.NORM_KIND_LAYER:
        raise FieldError(f"{field}.bias", "expected none for a norm of kind rms, got one")


def _check_number(number: float, field: str, least: float = LEAST) -> None:
    if problem := problem_of(number, least):
        raise FieldError(field, problem)


def _shown(name: str) -> str:
    return repr(name) if len(name) <= MOST_SHOWN else f"{len(name)} characters"
