import math
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import NamedTuple
from urllib.error import HTTPError

from losswire.monitoring.expressions import Where
from losswire_client.cli._failures import CommandError, ExitCode

TIMEOUT = 5.0
TIMED_OUT = "timed out"
OURS = "losswire_"  # metrics of a Losswire server begin so

Labels = frozenset[tuple[str, str]]
NO_SAMPLES: Mapping[Labels, float] = {}
EVERYWHERE: Where = {}


class MetricsError(CommandError):
    """A server's metrics cannot be read."""

    def __init__(self, url: str, problem: object) -> None:
        reason = getattr(problem, "reason", problem)  # a URLError has one
        text = getattr(reason, "strerror", None) or reason
        super().__init__(f"cannot read metrics at {url}: {text}", ExitCode.UNREACHABLE)


class Scrape(NamedTuple):
    """All samples of a server at one time.

    Attributes:
        at: Seconds of a monotonic clock.
        samples: Values by name and labels.
        time: The same moment, in seconds since the epoch.
    """

    at: float
    samples: Mapping[str, Mapping[Labels, float]]
    time: float = math.nan

    def sums(self, name: str, *by: str, where: Where = EVERYWHERE) -> dict[tuple[str, ...], float]:
        """A metric added up by the values of these labels."""
        return {values: sum(several) for values, several in self._values(name, by, where).items()}

    def least(self, name: str, *by: str, where: Where = EVERYWHERE) -> dict[tuple[str, ...], float]:
        """The least values of a metric, by the values of these labels."""
        return {values: min(several) for values, several in self._values(name, by, where).items()}

    def latest(self, name: str, of: str, *by: str) -> dict[tuple[str, ...], float]:
        """The values of a metric where another one is largest, by the values of these labels."""
        others = self.samples.get(of, NO_SAMPLES)
        most = {values: max(several) for values, several in self._values(of, by, EVERYWHERE).items()}
        found: dict[tuple[str, ...], float] = {}
        for labels, value in self.samples.get(name, NO_SAMPLES).items():
            values = label_values(labels, by)
            if values in most and others.get(labels) == most[values]:
                found[values] = max(value, found.get(values, value))
        return found

    def _values(self, name: str, by: tuple[str, ...], where: Where) -> dict[tuple[str, ...], list[float]]:
        values: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for labels, value in self.samples.get(name, NO_SAMPLES).items():
            if is_where(labels, where):
                values[label_values(labels, by)].append(value)
        return values


def fetch(url: str) -> Scrape:
    """The metrics at an address.

    Raises:
        MetricsError: No server answers, or the metrics are not a Losswire server's.
    """
    try:
        scrape = parse(_download(url).decode(), time.monotonic(), time.time())
    except HTTPError as error:
        error.close()  # an HTTPError is an open response too
        raise MetricsError(url, error) from error
    except (OSError, HTTPException, ValueError, RuntimeError) as error:  # RuntimeError: no thread can be started
        raise MetricsError(url, error) from error
    if not any(name.startswith(OURS) for name in scrape.samples):
        raise MetricsError(url, "what answers is not a Losswire server")
    return scrape


def _download(url: str) -> bytes:
    """The content at an address, read within `TIMEOUT`. A socket's timeout is for one read, and there may be many."""
    text: Future[bytes] = Future()

    def read() -> None:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 - what the user typed
                text.set_result(_read_all(response, time.monotonic() + TIMEOUT))
        except Exception as error:  # noqa: BLE001 - it is raised where the text is awaited
            text.set_exception(error)

    threading.Thread(target=read, daemon=True).start()
    try:
        return text.result(TIMEOUT)
    except TimeoutError as error:
        raise TimeoutError(TIMED_OUT) from error


def _read_all(response: HTTPResponse, end: float) -> bytes:
    parts = []
    while part := response.read1():
        if time.monotonic() > end:  # a caller that wakes late would take a part for the whole
            raise TimeoutError(TIMED_OUT)
        parts.append(part)
    text = b"".join(parts)
    if response.length:
        raise IncompleteRead(text, response.length)
    return text


def parse(text: str, at: float, now: float = math.nan) -> Scrape:
    """Reads Prometheus's text format.

    Raises:
        ValueError: The text has another format.
    """
    from prometheus_client.parser import text_string_to_metric_families  # slow to load

    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name][frozenset(sample.labels.items())] = sample.value
    return Scrape(at, samples, now)


def is_where(labels: Labels, where: Where) -> bool:
    """Whether labels have values that are asked for."""
    return not where or all(dict(labels).get(name, "") in values for name, values in where.items())


def label_values(labels: Labels, names: Iterable[str]) -> tuple[str, ...]:
    """The values of these labels; empty if there is no such label."""
    values = dict(labels)
    return tuple(values.get(name, "") for name in names)
