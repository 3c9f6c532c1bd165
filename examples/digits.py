"""Trains a classifier of handwritten digits from three worker processes that get every loss and gradient from Losswire.

The workers need neither PyTorch nor each other's rows. Each sends the logits of its own rows and gets their summed loss
and gradient back. The sums of all workers add up to exactly the loss and gradient of the whole batch. At the end the
held-out loss, merged from the workers' sums, is compared with PyTorch's loss over all rows.

Run it with ``make demo``. It exits with 1 if the two losses differ by more than 1e-6.
"""

# Modules that only the main process needs (torch, the server, scikit-learn, matplotlib) are imported where they are
# used, because every process that multiprocessing spawns imports this file too.
import argparse
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from digits_worker import Answer, Array, Fleet, Parameters, Rows, forward, initial_parameters, start_fleet
from rich.console import Console
from rich.progress import track
from rich.table import Table

SHARES = (0.5, 0.3, 0.2)  # of the rows for each worker; uneven, so that a mean of the workers' means would be wrong
STEPS_PER_EPOCH = 10
LEARNING_RATE = 0.5
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Curve:
    """Mean losses: of each step's batch, and of all held-out rows after each epoch."""

    train: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Service:
    """Where it is called, and where the metrics of its one server are."""

    target: str
    metrics_url: str = ""


def main() -> None:
    arguments = parse_arguments()
    console = Console()
    train, held_out = load_rows()
    console.print(f"Three workers train on {len(train.y)} handwritten digits; {len(held_out.y)} are held out.")
    with service(arguments.target) as server, start_fleet(server.target, share(train), share(held_out)) as workers:
        parameters, curve = fit(workers, arguments.epochs, console)
        answers = workers.ask("held_out", parameters)
        scrape = urllib.request.urlopen(server.metrics_url).read().decode() if server.metrics_url else ""
    local = local_loss(parameters, held_out)
    difference = abs(mean_loss(answers) - local)
    console.print(results(answers, local, accuracy(parameters, held_out), workers.seconds, scrape))
    if scrape:
        console.print("From the server's metrics:", *sample_lines(scrape), sep="\n  ", highlight=False, soft_wrap=True)
    save_picture(curve, arguments.picture)
    console.print(f"Loss curve: {arguments.picture}")
    if not difference <= TOLERANCE:
        sys.exit(f"The losses differ by {difference:.1e}, more than {TOLERANCE:.0e}.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", help="of a service that runs already, as in localhost:50051; else one is started")
    parser.add_argument("--epochs", type=int, default=60, help=f"of {STEPS_PER_EPOCH} steps each (%(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("out/digits.png"), help="the loss curve (%(default)s)")
    return parser.parse_args()


@contextmanager
def service(target: str | None) -> Iterator[Service]:
    """The service at a target, which may be several servers with metrics each, or one for the length of the block."""
    if target is not None:
        yield Service(target)
        return
    from losswire_server import launch

    with launch() as server:
        yield Service(server.target, server.metrics_url)


def load_rows() -> tuple[Rows, Rows]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x_train, x_held_out, y_train, y_held_out = train_test_split(
        (x / 16).astype(np.float32), y, test_size=0.3, stratify=y, random_state=0
    )
    return Rows(x_train, y_train), Rows(x_held_out, y_held_out)


def share(rows: Rows) -> list[Rows]:
    ends = (np.cumsum(SHARES)[:-1] * len(rows.y)).astype(int)
    return [Rows(x, y) for x, y in zip(np.split(rows.x, ends), np.split(rows.y, ends), strict=True)]


def fit(workers: Fleet, epochs: int, console: Console) -> tuple[Parameters, Curve]:
    parameters = initial_parameters(np.random.default_rng(0))
    curve = Curve()
    for _ in track(range(epochs), "Training", console=console):
        for _ in range(STEPS_PER_EPOCH):
            answers = workers.ask("train", parameters)
            curve.train.append(mean_loss(answers))
            parameters = step(parameters, answers)
        curve.held_out.append(mean_loss(workers.ask("held_out", parameters)))
    return parameters, curve


def step(parameters: Parameters, answers: list[Answer]) -> Parameters:
    """Gradient descent on the mean loss of all workers' rows together."""
    rate = LEARNING_RATE / sum(answer.weight_sum for answer in answers)
    gradients = [sum(parts) for parts in zip(*(answer.gradient for answer in answers), strict=True)]
    return [p - np.float32(rate) * g for p, g in zip(parameters, gradients, strict=True)]


def mean_loss(answers: list[Answer]) -> float:
    """The exact mean over all rows: sums divided by sums."""
    return sum(answer.loss_sum for answer in answers) / sum(answer.weight_sum for answer in answers)


def local_loss(parameters: Parameters, rows: Rows) -> float:
    import torch

    logits = torch.from_numpy(forward(parameters, rows.x)[1])
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(rows.y)))


def accuracy(parameters: Parameters, rows: Rows) -> float:
    predictions: Array = forward(parameters, rows.x)[1].argmax(1)
    return float(np.mean(predictions == rows.y))


def results(answers: list[Answer], local: float, accuracy: float, seconds: list[float], scrape: str) -> Table:
    merged = mean_loss(answers)
    naive = float(np.mean([answer.loss_sum / answer.weight_sum for answer in answers]))
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    table = Table(show_header=False, title="Digits through Losswire", title_justify="left")
    table.add_row("held-out loss, merged from three workers", f"{merged:.9f}")
    table.add_row("held-out loss, PyTorch on all rows", f"{local:.9f}")
    table.add_row("their difference", f"{abs(merged - local):.1e}")
    table.add_row("the mean of the three workers' means, for comparison", f"{naive:.9f}", style="dim")
    table.add_row("held-out accuracy", f"{accuracy:.1%}")
    if scrape:
        evaluations = metric(scrape, "grpc_server_handled_total", grpc_method="Evaluate", grpc_code="OK")
        table.add_row("evaluations served", f"{evaluations:,.0f}")
        table.add_row("rows served", f"{metric(scrape, 'losswire_rows_total'):,.0f}")
    table.add_row("latency seen by the workers, p50 and p99", f"{p50:.2f} ms and {p99:.2f} ms")
    return table


def metric(scrape: str, name: str, **labels: str) -> float:
    from prometheus_client.parser import text_string_to_metric_families

    samples = (sample for family in text_string_to_metric_families(scrape) for sample in family.samples)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def sample_lines(scrape: str) -> list[str]:
    wanted = (
        "losswire_loss_sum_total",
        "losswire_weight_sum_total",
        "losswire_rows_total",
        "grpc_server_handled_total",
    )
    return [line for line in scrape.splitlines() if line.startswith(wanted) and not line.endswith(" 0.0")]


def save_picture(curve: Curve, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.train, alpha=0.4, label="training, each step")
    ends = np.arange(1, len(curve.held_out) + 1) * STEPS_PER_EPOCH - 1
    axes.plot(ends, curve.held_out, label="held out, each epoch")
    axes.set(title="Digits through Losswire", xlabel="step", ylabel="mean cross-entropy", yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
