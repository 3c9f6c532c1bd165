"""Trains a small language model, gives its output layer to a server, and sends that hidden states in place of logits.

The model is a transformer of two layers that learns to predict the next word of Python's own help, in plain PyTorch.
Then the server holds its output layer, a head. From hidden states it computes the loss of held-out text, which is
PyTorch's of the logits; and in some steps of training the gradient of the hidden states. At the end the model is
compared with itself in 8 bits, by ``losswire compare``.

Run it with ``make demo-heads``. It exits with 1 if a check fails; all of them are printed.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
from files import COMMAND, compare, save
from heads_report import adaptation_table, evaluation_table
from remote import Adaptation, Evaluation, adapt, divergence, evaluate
from rich.console import Console
from rich.progress import track
from transformer import Transformer, in_eight_bits, train
from words import LENGTH, Words, read_words

from losswire_client import Client
from losswire_server import launch

TOLERANCE = 1e-5  # of a loss and of a gradient, as a part of it
STEPS_TOLERANCE = 1e-3  # of losses after steps that differed by roundings
DIVERGENCE_TOLERANCE = 1e-2  # of nearly equal distributions, whose logits are rounded to float32


def main() -> None:
    arguments = parse_arguments()
    console = Console()
    tell = partial(console.print, highlight=False, soft_wrap=True)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    words = read_words()
    model = Transformer(words.class_count, LENGTH)
    tell(f"A transformer learns to predict the next of {words.class_count:,} words from {words.train.numel():,} words.")
    losses = list(track(train(model, words.train, arguments.steps), "Training", arguments.steps, console=console))
    tell(f"Its loss falls from {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps, all in this process.\n")
    with launch() as server:
        checks = through_server(server.target, model, words, arguments, console)
    tell(f"Their histograms: {arguments.folder / 'comparison.png'}")
    for text, holds in checks.items():
        tell(f"[green]✓[/] {text}" if holds else f"[red]✗ {text}[/]")
    if failed := [text for text, holds in checks.items() if not holds]:
        sys.exit(f"Not so: {'; '.join(failed)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of training in this process (%(default)s)")
    help_text = "of training with gradients from the server (%(default)s)"
    parser.add_argument("--remote-steps", type=int, default=20, help=help_text)
    help_text = "for hidden states, heads and the plot (%(default)s)"
    parser.add_argument("--folder", type=Path, default=Path("out/heads"), help=help_text)
    return parser.parse_args()


def through_server(
    target: str, model: Transformer, words: Words, arguments: argparse.Namespace, console: Console
) -> dict[str, bool]:
    """Does all that needs the server, prints what it comes to, and says what holds."""
    head, rounded = model.head(), in_eight_bits(model)
    with Client(target, transport="stream") as client:  # as over a network: here it would take shared memory
        evaluation = evaluate(client, model, head, words.held_out)
        console.print(evaluation_table(evaluation))
        adaptation = adapt(client, model, head, words.new, arguments.remote_steps)
        console.print(adaptation_table(adaptation))
    for name, each in {"original": model, "eight-bits": rounded}.items():
        save(arguments.folder, name, each, words.held_out)
    text = f"How far is the model from itself with its matrices rounded to 8 bits? In {arguments.folder}:\n$ {COMMAND}"
    console.print(text, highlight=False, soft_wrap=True)
    compared = compare(arguments.folder, target)
    local = divergence(model, rounded, words.held_out)
    return checks(evaluation, adaptation, compared, local)


def checks(evaluation: Evaluation, adaptation: Adaptation, compared: float, local: float) -> dict[str, bool]:
    """What must hold, and whether it does."""
    steps = zip(adaptation.remote, adaptation.local, strict=True)
    return {
        f"the held-out loss is PyTorch's, to {TOLERANCE:.0e}": is_near(
            evaluation.loss, evaluation.local_loss, TOLERANCE
        ),
        f"the gradient of hidden states is PyTorch's, to {TOLERANCE:.0e}": adaptation.gradient_error <= TOLERANCE,
        "training through the server goes as with PyTorch's losses": all(
            is_near(*pair, STEPS_TOLERANCE) for pair in steps
        ),
        "the model has learnt the new topics": adaptation.after < adaptation.before,
        f"the mean divergence is PyTorch's, {local:.6g}, to 1 %": is_near(compared, local, DIVERGENCE_TOLERANCE),
    }


def is_near(a: float, b: float, tolerance: float) -> bool:
    """Whether two numbers differ by a small part only."""
    return abs(a - b) <= tolerance * abs(b)


if __name__ == "__main__":
    main()
