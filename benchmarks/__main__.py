"""Measures one caller's evaluations through the service beside the same in this process. Run it with ``make bench``."""

import argparse
import platform
import urllib.request
from collections.abc import Callable

import torch
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

import ce_engine
from benchmarks.timing import medians
from losswire_client import Client
from losswire_server import RunningServer, launch

SHAPES = ((32, 10), (4096, 1000), (256, 32000))
SMOKE_SHAPES = ((32, 10), (64, 100))
HEADINGS = ("batch", "gradient", "F.cross_entropy", "ce_engine", "Losswire", "of it in evaluation", "ratio to F")


def main() -> None:
    arguments = parse_arguments()
    shapes, runs = (SMOKE_SHAPES, 3) if arguments.smoke else (SHAPES, arguments.runs)
    console = Console(width=110)
    console.print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    table = Table(*HEADINGS, title=f"float32, milliseconds, medians of {runs} runs in turns", title_justify="left")
    with launch() as server, Client(server.target) as client:
        for shape in shapes:
            for grad in (False, True):  # first all once: allocators keep for later what the largest batches freed
                medians(candidates(client, shape, grad=grad), runs)
            for grad in (False, True):
                table.add_row(*measure(server, client, shape, runs, grad=grad))
    console.print(table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=31, help="of each measurement (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="a few runs of small shapes: shows that it works, no more")
    return parser.parse_args()


def measure(server: RunningServer, client: Client, shape: tuple[int, int], runs: int, *, grad: bool) -> list[str]:
    before = evaluations(server)
    seconds = medians(candidates(client, shape, grad=grad), runs)
    after = evaluations(server)
    evaluation = (after[0] - before[0]) / (after[1] - before[1])
    times = [f"{value * 1e3:.3f}" for value in (*seconds.values(), evaluation)]
    return ["x".join(map(str, shape)), "yes" if grad else "no", *times, f"{seconds['losswire'] / seconds['torch']:.1f}"]


def candidates(client: Client, shape: tuple[int, int], *, grad: bool) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    logits, target = torch.randn(shape), torch.randint(0, shape[1], shape[:1])
    leaf, logits_array, target_array = logits.clone().requires_grad_(), logits.numpy(), target.numpy()

    def in_torch() -> object:
        return torch.autograd.grad(F.cross_entropy(leaf, target), leaf) if grad else F.cross_entropy(logits, target)

    return {
        "torch": in_torch,
        "engine": lambda: ce_engine.cross_entropy(logits, target, grad=grad),
        "losswire": lambda: client.cross_entropy(logits_array, target_array, grad=grad),
    }


def evaluations(server: RunningServer) -> tuple[float, float]:
    """Seconds that the server has spent on evaluations, and their number."""
    scrape = urllib.request.urlopen(server.metrics_url).read().decode()
    samples = [sample for family in text_string_to_metric_families(scrape) for sample in family.samples]
    totals = {s.name: s.value for s in samples if s.labels == {"loss": "cross_entropy"}}
    return totals["losswire_evaluation_seconds_sum"], totals["losswire_evaluation_seconds_count"]


if __name__ == "__main__":
    main()
