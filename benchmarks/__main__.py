"""Measures one caller's evaluations through the service beside the same in this process. Run it with ``make bench``."""

import argparse
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

import ce_engine
from benchmarks.timing import medians
from losswire_client import Client
from losswire_server import launch

SHAPES = ((32, 10), (4096, 1000), (256, 32000))
SMOKE_SHAPES = ((32, 10), (64, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=31, help="of each measurement (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="a few runs of small shapes: shows that it works, no more")
    arguments = parser.parse_args()
    shapes, runs = (SMOKE_SHAPES, 3) if arguments.smoke else (SHAPES, arguments.runs)
    table = Table(title=f"float32 logits, medians of {runs} runs in turns, milliseconds", title_justify="left")
    for heading in (
        "rows x classes",
        "gradient",
        "PyTorch here",
        "ce_engine here",
        "Losswire, unary",
        "unary / PyTorch",
    ):
        table.add_column(heading, justify="right")
    with launch() as server, Client(server.target) as client:
        for shape in shapes:
            for grad in (False, True):
                seconds = medians(candidates(client, shape, grad=grad), runs)
                cells = [f"{value * 1e3:.3f}" for value in seconds.values()]
                ratio = seconds["service"] / seconds["torch"]
                table.add_row("x".join(map(str, shape)), "yes" if grad else "no", *cells, f"{ratio:.1f}")
    Console().print(table)


def candidates(client: Client, shape: tuple[int, int], *, grad: bool) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    logits, target = torch.randn(shape), torch.randint(0, shape[1], shape[:1])
    leaf = logits.clone().requires_grad_()
    logits_array, target_array = logits.numpy(), target.numpy()
    return {
        "torch": lambda: (
            torch.autograd.grad(F.cross_entropy(leaf, target), leaf) if grad else F.cross_entropy(logits, target)
        ),
        "engine": lambda: ce_engine.cross_entropy(logits, target, grad=grad),
        "service": lambda: client.cross_entropy(logits_array, target_array, grad=grad),
    }


if __name__ == "__main__":
    main()
