"""A small transformer that predicts the next word, in plain PyTorch: its training, and its form in 8 bits."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losswire_client import Head, Norm

WIDTH = 128
LAYERS = 2
EPS = 1e-6
BATCH_SEQUENCES = 32
LEARNING_RATE = 3e-3


class Transformer(nn.Module):
    """Makes hidden states, (N, L, WIDTH), of word numbers, (N, L). Norm and output layer make logits of them.

    Args:
        class_count: How many words there are.
        length: How many words a sequence has at most.
    """

    mask: Tensor

    def __init__(self, class_count: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(class_count, WIDTH)
        self.position_embedding = nn.Parameter(torch.randn(length, WIDTH) / 10)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True)
        self.trunk = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.RMSNorm(WIDTH, EPS)
        self.output = nn.Linear(WIDTH, class_count, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, words: Tensor) -> Tensor:
        length = words.shape[1]
        x = self.embedding(words) + self.position_embedding[:length]
        states: Tensor = self.trunk(x, self.mask[:length, :length], is_causal=True)
        return states

    def logits(self, states: Tensor) -> Tensor:
        logits: Tensor = self.output(self.norm(states))
        return logits

    def head(self) -> Head:
        """Norm and output layer as a server takes them, with the numbers that they have now."""
        norm = Norm("rms", EPS, self.norm.weight.detach().clone())
        return Head(self.output.weight.detach().clone(), norm=norm)


def train(model: Transformer, sequences: Tensor, steps: int) -> Iterator[float]:
    """Trains all of the model in this process, and gives the loss of each step."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    model.train()
    for _ in range(steps):
        batch = sequences[torch.randint(len(sequences), (BATCH_SEQUENCES,))]
        loss = F.cross_entropy(model.logits(model(batch[:, :-1])).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        yield loss.item()
    model.eval()


def in_eight_bits(model: Transformer) -> Transformer:
    """A copy whose matrices are rounded to 255 steps for each row. They are multiplied as floats again."""
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for name, matrix in rounded.named_parameters():
            if matrix.dim() == 2 and "embedding" not in name:
                step = matrix.abs().amax(1, keepdim=True) / 127
                matrix.copy_((matrix / step).round().clamp(-127, 127) * step)
    return rounded
