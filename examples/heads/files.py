"""Files of a model's hidden states and of its head, and ``losswire compare``, which reads them."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor
from transformer import EPS, Transformer

COMMAND = (
    "losswire compare original.npz eight-bits.npz --head-a original.safetensors --head-b eight-bits.safetensors "
    "--output comparison.json --plot comparison.png"
)


@torch.no_grad()
def save(folder: Path, name: str, model: Transformer, sequences: Tensor) -> None:
    """Writes hidden states with the words that came, and the head that makes logits of them."""
    states = model(sequences[:, :-1]).flatten(0, 1)
    np.savez(folder / f"{name}.npz", hidden_states=states.numpy(), labels=sequences[:, 1:].flatten().numpy())
    tensors = {"weight": model.output.weight.numpy(), "norm.weight": model.norm.weight.numpy()}
    save_file(tensors, folder / f"{name}.safetensors", {"norm": "rms", "norm_eps": str(EPS)})


def compare(folder: Path, target: str) -> float:
    """Runs the command in the folder; what it prints goes where this process prints. Returns the mean divergence."""
    program = [sys.executable, "-m", "losswire_client.cli", *shlex.split(COMMAND)[1:]]
    subprocess.run(program, cwd=folder, env={**os.environ, "LOSSWIRE_TARGET": target}, check=True)
    return float(json.loads((folder / "comparison.json").read_text())["total"]["mean"])
