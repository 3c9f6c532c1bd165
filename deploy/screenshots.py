"""Takes the README's pictures of the server's page, of a server that evaluates for several trainings at once.

The trainings are made up: their logits come nearer to the targets as time goes by, so that the losses fall.
"""

import argparse
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from deploy import debian
from losswire_client import Client, LosswireError
from losswire_server import RunningServer, launch

DOCS = Path(__file__).resolve().parents[1] / "docs"
WINDOWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 1160}},
    "dark": {"viewport": {"width": 1280, "height": 1160}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 1340}},
}

Training = Callable[[Client, np.random.Generator, float], None]  # a step, at a part of the whole time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=150.0, help="how long the trainings are watched")
    seconds = parser.parse_args().seconds
    chromium = debian.binary("chromium")
    if chromium is None:
        raise SystemExit("chromium is neither installed nor unpacked: make .debian/ready")
    with launch() as server, trainings(server, seconds), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages = {name: browser.new_context(**window).new_page() for name, window in WINDOWS.items()}
        for page in pages.values():
            page.goto(server.metrics_url.removesuffix("metrics"))
        pages["light"].wait_for_timeout(seconds * 1000)
        pages["dark"].evaluate("document.getElementById('section-traffic').scrollIntoView()")
        pages["dark"].wait_for_timeout(4000)  # until the page has looked again
        for name, page in pages.items():
            picture(page, DOCS / f"page-{name}.png")
        browser.close()


def picture(page: Page, path: Path) -> None:
    """Of few colours, since pictures stay in the repository for ever."""
    from PIL import Image

    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def trainings(server: RunningServer, seconds: float) -> Iterator[None]:
    """Runs all trainings in threads of their own, for the length of a block."""
    stop, began = threading.Event(), time.monotonic()

    def run(training: Training, options: dict[str, Any], pause: float) -> None:
        rng = np.random.default_rng(0)
        with Client(server.target, **options) as client:
            while not stop.wait(pause * rng.uniform(0.5, 1.5)):
                training(client, rng, min(1.0, (time.monotonic() - began) / seconds))

    with ThreadPoolExecutor(len(TRAININGS)) as threads:
        running = [threads.submit(run, *each) for each in TRAININGS]
        try:
            yield
        finally:
            stop.set()
        for each in running:
            each.result()


def language_model(client: Client, rng: np.random.Generator, part: float) -> None:
    logits, target = classes(rng, 128, 8000, 9.0 * (1 - math.exp(-4 * part)))
    client.cross_entropy(logits, target, series="lm-125m/train", grad=True, outputs=["predictions"])


def language_model_validation(client: Client, rng: np.random.Generator, part: float) -> None:
    logits, target = classes(rng, 256, 8000, 8.4 * (1 - math.exp(-4 * part)))
    target[::7] = -100  # padding
    client.cross_entropy(logits, target, series="lm-125m/validation", outputs=["predictions"])


def digits(client: Client, rng: np.random.Generator, part: float) -> None:
    logits, target = classes(rng, 64, 10, 3.5 * (1 - math.exp(-7 * part)))
    client.cross_entropy(logits, target, series="digits", label_smoothing=0.05, outputs=["predictions"])


def speech(client: Client, rng: np.random.Generator, part: float) -> None:
    """Diverges now and then: a row is NaN."""
    logits, target = classes(rng, 512, 400, 6.0 * (1 - math.exp(-2.5 * part)))
    if rng.random() < 0.03:
        logits[rng.integers(512)] = np.nan
    client.cross_entropy(logits, target, series="speech/ctc", grad=True)


def clicks(client: Client, rng: np.random.Generator, part: float) -> None:
    target = (rng.random((64, 8)) < 0.3).astype(np.float32)
    logits = rng.standard_normal((64, 8), np.float32) + (2 * target - 1) * 2.5 * (1 - math.exp(-5 * part))
    calls = [(logits[row : row + 8], target[row : row + 8]) for row in range(0, 64, 8)]
    for _ in client.map(calls, loss="binary_cross_entropy_with_logits", series="clicks"):
        pass


def wrong(client: Client, rng: np.random.Generator, part: float) -> None:  # noqa: ARG001 - as trainings are
    client.capabilities()
    with suppress(LosswireError):
        client.cross_entropy(rng.standard_normal((4, 10)), [1, 2, 3, 99], series="digits")


def classes(rng: np.random.Generator, rows: int, count: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that tell the right class by about so much."""
    target = rng.integers(count, size=rows)
    logits = rng.standard_normal((rows, count), np.float32)
    logits[np.arange(rows), target] += margin + 3 * rng.standard_normal(rows)
    return logits, target


TRAININGS: tuple[tuple[Training, dict[str, Any], float], ...] = (
    (language_model, {"transport": "shared_memory"}, 0.1),
    (language_model_validation, {"transport": "stream"}, 0.6),
    (digits, {"transport": "unary"}, 0.02),
    (speech, {}, 0.1),
    (clicks, {"coalesce": True}, 0.05),
    (wrong, {}, 2.0),
)

if __name__ == "__main__":
    main()
