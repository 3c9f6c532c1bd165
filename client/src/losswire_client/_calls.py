"""Refuses calls that do not fit a signature. Errors name what the caller wrote, and the nearest argument."""

import inspect
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast, get_args

from losswire_client._errors import SignatureError

P = ParamSpec("P")
T = TypeVar("T")
KindT = TypeVar("KindT", bound=type)
OF_TORCH = {  # keywords of PyTorch's losses that the nearest ones of ours do not stand for
    "log_target": "targets are logits, and log-probabilities are logits too: leave it out, and pass log(p) for p",
}


def checks_call(method: Callable[P, T]) -> Callable[P, T]:
    """Has a method raise an error of the tree where Python would raise a TypeError that names a base class."""
    method_of_any: Any = method
    known = keywords_of(method)

    @wraps(method)
    def call(self: object, /, *arguments: Any, **keywords: Any) -> Any:
        check_keywords(self, method, keywords, known)
        try:
            return method_of_any(self, *arguments, **keywords)
        except TypeError as error:
            if _was_entered(error):
                raise
            raise _misfit(self, method, error) from None

    @wraps(method)
    async def call_awaited(self: object, /, *arguments: Any, **keywords: Any) -> Any:
        check_keywords(self, method, keywords, known)
        try:
            return await method_of_any(self, *arguments, **keywords)
        except TypeError as error:
            if _was_entered(error):
                raise
            raise _misfit(self, method, error) from None

    return cast(Callable[P, T], call_awaited if inspect.iscoroutinefunction(method) else call)


def checks_construction(kind: KindT) -> KindT:
    """The same for the generated constructor of a class, as a dataclass has one."""
    kind.__init__ = checks_call(kind.__init__)  # type: ignore[misc]
    return kind


def check_keywords(
    owner: object, method: Callable[..., object], given: Iterable[str], known: Collection[str] | None
) -> None:
    """Refuses an unknown keyword, as Python does, and names the nearest one, as Python does from 3.13 on."""
    unknown = None if known is None else next((name for name in given if name not in known), None)
    if unknown is None or known is None:
        return
    nearest = get_close_matches(unknown, known, 1)
    meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
    if unknown in OF_TORCH:
        meant = f"; {OF_TORCH[unknown]}"
    error = SignatureError(f"{_called(owner, method)} got an unexpected keyword argument {unknown!r}{meant}")
    error.argument = unknown
    raise error


def keywords_of(method: Callable[..., object]) -> Collection[str] | None:
    """The names of a method's parameters, with the keys of a TypedDict of keywords; None if it takes any keyword."""
    known: list[str] = []
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            known.append(parameter.name)
        elif unpacked := get_args(parameter.annotation):
            known.extend(unpacked[0].__annotations__)
        else:
            return None
    return known


def _misfit(owner: object, method: Callable[..., object], error: TypeError) -> SignatureError:
    return SignatureError(f"{_called(owner, method)} {str(error).partition('() ')[2]}")


def _called(owner: object, method: Callable[..., object]) -> str:
    """What a caller wrote, as in ``Client.ping()``, or ``Client()`` for a constructor."""
    kind = getattr(owner, "_public_name", type(owner).__name__)
    return f"{kind}()" if method.__name__ == "__init__" else f"{kind}.{method.__name__}()"


def _was_entered(error: TypeError) -> bool:
    """Whether the method raised the error, rather than Python when it called the method."""
    return error.__traceback__ is None or error.__traceback__.tb_next is not None
