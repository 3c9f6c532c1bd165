"""``losswire top``: a live view of a server."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text
from typer import BadParameter, Option

from losswire_client.cli._output import stdout
from losswire_client.cli.monitor import Frame, MetricsError, Trends, fetch, view, watch


def _web_address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise BadParameter(f"expected http://HOST:PORT/metrics, got {url!r}")
    return url


def top(
    metrics_url: Annotated[
        str, Option(envvar="LOSSWIRE_METRICS_URL", callback=_web_address, help="Where the server has its metrics.")
    ] = "http://localhost:9464/metrics",
    interval: Annotated[float, Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, Option("--once", help="Show one interval and exit.")] = False,
) -> None:
    """Watch a server: calls, latencies, where the time goes, batching, memory, the losses of series, and runs.

    All rates are for the last interval, computed from the server's Prometheus metrics in Prometheus's way. The mean
    loss of a series is the sum of its losses in the interval divided by the sum of their weights. Idle series have
    theirs since the server's start, dim. Rows whose loss was NaN or infinite, and evaluations that are not in the mean,
    are counted since the start; they are red while there are more of them. Of runs, all numbers are those of the whole
    run, whatever server it was evaluated by.

    If no server answers, the command waits for it, or with --once exits with 3. Into a pipe, frames are written one
    below the other. Ctrl-C ends the command.
    """
    console = stdout()
    shown = frames(metrics_url, interval, once=once)
    if once:
        console.print(next(shown))
    elif console.is_terminal:
        show_live(console, shown)
    else:
        for frame in shown:
            console.print(frame)


def frames(url: str, interval: float, *, once: bool) -> Iterator[RenderableType]:
    """The frames to show, one for each interval."""
    trends = Trends()
    for seen in watch(partial(fetch, url), interval):
        if isinstance(seen, MetricsError):
            if once:
                raise seen
            yield Text(f"{seen}; trying again", style="red")
            continue
        frame = Frame.of(seen)
        trends.add(frame)
        yield view(frame, trends, url)


def show_live(console: Console, shown: Iterator[RenderableType]) -> None:
    """Shows each frame in place of the last one, and restores the terminal in the end."""
    with Live("looking", console=console, screen=True, auto_refresh=False) as live:
        for frame in shown:
            live.update(frame, refresh=True)
