"""What a call does, without the doing: logic once, for clients that wait and for clients that await.

A flow is a generator. It yields steps, each of which names a method of a wire and its arguments, and is sent what that
returned or thrown what that raised.
"""

from collections.abc import Generator
from operator import methodcaller
from typing import Any, TypeAlias, TypeVar, cast

T = TypeVar("T")

Flow: TypeAlias = Generator[methodcaller, Any, T]
step = methodcaller


def one_step(method: str, *arguments: object) -> Flow[Any]:
    """The flow that is no more than a step."""
    return (yield step(method, *arguments))


def run(flow: Flow[T], wire: object) -> T:
    """Runs a flow over a wire whose methods return."""
    try:
        ahead = next(flow)
        while True:
            try:
                answer = ahead(wire)
            except BaseException as error:  # noqa: BLE001 - the flow has things to undo, and raises it again
                ahead = flow.throw(error)
            else:
                ahead = flow.send(answer)
    except StopIteration as end:
        return cast(T, end.value)


async def run_async(flow: Flow[T], wire: object) -> T:
    """Runs a flow over a wire whose methods are awaited."""
    try:
        ahead = next(flow)
        while True:
            try:
                answer = await ahead(wire)
            except BaseException as error:  # noqa: BLE001 - as above
                ahead = flow.throw(error)
            else:
                ahead = flow.send(answer)
    except StopIteration as end:
        return cast(T, end.value)
