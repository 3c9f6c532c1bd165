"""Chunks of batches, each in one message: whoever has many batches at hand need not wake a thread for each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from losswire import v1
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError
from losswire_client._evaluation import Common, Evaluation, Options
from losswire_client._map import Batch, evaluate_in_threads, noting
from losswire_client._packs import MAX_IN_FLIGHT, MAX_REQUEST_BYTES, Outcome, is_small
from losswire_client._result import Result
from losswire_client._surface import Losses
from losswire_client._unary import read_whole, whole_request

T = TypeVar("T")


class Preparation(Losses[Evaluation]):
    """The losses, put together and not evaluated."""

    def _evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> Evaluation:
        common.pop("timeout", None)
        options: Options = common
        return put_together(**options)


class Chunks:
    """Evaluates chunks of batches.

    Args:
        wire: Gives what takes a message now.
        prepare: Puts a batch together.
        alone: Evaluates what cannot go, or has failed, with others.
        deadline: Of a message that is sent now.
    """

    def __init__(
        self,
        wire: Callable[[], Any],
        prepare: Callable[[Batch], Evaluation],
        alone: Callable[[Evaluation], Result],
        deadline: Callable[[], Deadline],
    ) -> None:
        self._wire = wire
        self._prepare = prepare
        self._alone = alone
        self._deadline = deadline

    def results(self, batches: Iterable[Batch], window: int) -> Iterator[Result]:
        """Results in order. Half of a window is computed while the other half is put together."""
        size = min(-(-window // MAX_IN_FLIGHT), self._wire().max_requests(self._deadline()))
        number = 0
        for results in evaluate_in_threads(self._evaluate, _chunks(batches, size), MAX_IN_FLIGHT):
            for result in results:
                with noting(number):
                    yield _raised(result)
                number += 1

    def _evaluate(self, chunk: Sequence[Batch]) -> list[Result | Exception]:
        evaluations = [_attempted(self._prepare, batch) for batch in chunk]
        requests = {
            number: data
            for number, evaluation in enumerate(evaluations)
            if isinstance(evaluation, Evaluation) and (data := _small_request(evaluation))
        }
        outcomes = dict(zip(requests, self._send(list(requests.values())), strict=False))
        return [self._result(evaluation, outcomes.get(number)) for number, evaluation in enumerate(evaluations)]

    def _send(self, requests: Sequence[bytes]) -> Sequence[Outcome]:
        try:
            return self._wire().evaluate_together(requests, self._deadline()) if requests else ()
        except LosswireError:  # each alone is tried again, or finds out what is wrong
            return ()

    def _result(self, evaluation: Evaluation | Exception, outcome: Outcome | None) -> Result | Exception:
        if isinstance(evaluation, Exception):
            return evaluation
        if isinstance(outcome, v1.EvaluateResponse):
            return read_whole(outcome, evaluation)
        return _attempted(self._alone, evaluation)


def _small_request(evaluation: Evaluation) -> bytes | None:
    if evaluation.nbytes > MAX_REQUEST_BYTES:
        return None
    request = whole_request(evaluation)
    data = request.SerializeToString()
    return data if is_small(request, data) else None


def _chunks(batches: Iterable[Batch], size: int) -> Iterator[Sequence[Batch]]:
    iterator = iter(batches)
    while chunk := tuple(islice(iterator, size)):
        yield chunk


def _attempted(function: Callable[[Any], T], argument: object) -> T | Exception:
    """What a function returns or raises, which is raised again in its turn."""
    try:
        return function(argument)
    except Exception as error:  # noqa: BLE001 - as said
        return error


def _raised(result: Result | Exception) -> Result:
    if isinstance(result, Exception):
        raise result
    return result
