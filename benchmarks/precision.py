"""Measures what a narrower dtype on the wire costs in precision, on logits of models. Run: ``make bench-precision``.

The models are trained here, in a minute, on data that every machine has: a classifier of scikit-learn's handwritten
digits, and a language model of the words in Python's own docstrings, whose vocabulary is large. The reference is
float64 in process.
"""

import argparse
import inspect
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from losswire_client import Client, Result
from losswire_server import launch

WIRE_DTYPES = ("float32", "bfloat16", "float16")
HEADINGS = ("logits", "on the wire", "bytes", "loss, relative", "loss of a row, largest", "gradient", "same prediction")
VOCABULARY = 8000
SMOKE_VOCABULARY = 200


@dataclass(frozen=True)
class Logits:
    """A model's logits of held-out rows.

    Attributes:
        name: Of the model.
        logits: (N, C) float32.
        target: (N) int64.
    """

    name: str
    logits: Tensor
    target: Tensor


def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(0)
    steps, vocabulary = (20, SMOKE_VOCABULARY) if arguments.smoke else (600, VOCABULARY)
    table = Table(*HEADINGS, title="error of what narrower dtypes travel in", title_justify="left")
    with launch() as server, Client(server.target) as client:
        for model in (digits(steps), words(steps, vocabulary)):
            for row in measure(client, model):
                table.add_row(*row)
    Console(width=130).print(table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small models: shows that it works, no more")
    return parser.parse_args()


def measure(client: Client, model: Logits) -> Iterator[list[str]]:
    """A row of the table for each dtype. The error of the gradient is relative, in the 2-norm of all of it."""
    wide = model.logits.double().requires_grad_()
    losses = F.cross_entropy(wide, model.target, reduction="none")
    (grad,) = torch.autograd.grad(losses.mean(), wide)
    exact, predictions = losses.detach().numpy(), model.logits.argmax(1).numpy()
    for wire_dtype in WIRE_DTYPES:
        mean, rows = (evaluate(client, model, wire_dtype, reduction) for reduction in ("mean", "none"))
        relative = abs(float(mean.loss_sum / mean.weight_sum) / exact.mean() - 1)
        grad_error = np.linalg.norm(mean.grad - grad.numpy()) / np.linalg.norm(grad.numpy())
        yield [
            f"{model.name}, {len(model.logits)} x {model.logits.shape[1]}",
            wire_dtype,
            f"{model.logits.numel() * np.dtype(wire_dtype).itemsize / 2**20:.1f} MiB",
            f"{relative:.1e}",
            f"{np.abs(rows.loss - exact).max():.1e}",
            f"{grad_error:.1e}",
            f"{np.mean(rows.predictions == predictions):.2%}",
        ]


def evaluate(client: Client, model: Logits, wire_dtype: str, reduction: str) -> Result:
    logits, target = model.logits.numpy(), model.target.numpy()
    return client.cross_entropy(
        logits, target, reduction=reduction, grad=True, wire_dtype=wire_dtype, outputs=("predictions",)
    )


def digits(steps: int) -> Logits:
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = torch.from_numpy(data.data).float() / 16, torch.from_numpy(data.target)
    held_out = torch.arange(len(y)) % 4 == 0
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    train(model, x[~held_out], y[~held_out], steps)
    return Logits("digits", model(x[held_out]).detach(), y[held_out])


def words(steps: int, vocabulary: int) -> Logits:
    """A model that predicts the next word after two words."""
    tokens = words_of_docstrings()
    known = {word: number for number, (word, _) in enumerate(Counter(tokens).most_common(vocabulary - 1))}
    numbers = torch.tensor([known.get(word, vocabulary - 1) for word in tokens])
    before, after = torch.stack((numbers[:-2], numbers[1:-1]), 1), numbers[2:]
    held_out = torch.arange(len(after)) % 16 == 0
    model = nn.Sequential(nn.Embedding(vocabulary, 64), nn.Flatten(), nn.Linear(128, 256), nn.ReLU())
    model.append(nn.Linear(256, vocabulary))
    train(model, before[~held_out], after[~held_out], steps)
    return Logits("words", model(before[held_out][:4096]).detach(), after[held_out][:4096])


def words_of_docstrings() -> list[str]:
    """The words of loaded modules of the standard library: to import others could have side effects."""
    names = sorted({module.name for module in pkgutil.iter_modules()} & set(sys.stdlib_module_names) & set(sys.modules))
    members: list[object] = [sys.modules[name] for name in names]
    members += [member for module in list(members) for _, member in inspect.getmembers(module, callable)]
    members += [method for kind in list(members) if inspect.isclass(kind) for _, method in inspect.getmembers(kind)]
    texts = {inspect.getdoc(member) or "" for member in members}
    return re.findall(r"\w+|[^\w\s]", " ".join(sorted(texts)).lower())


def train(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        rows = torch.randint(len(y), (256,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


if __name__ == "__main__":
    main()
