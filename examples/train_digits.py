"""Trains a classifier of handwritten digits. This is an ordinary PyTorch script that does not use Losswire.

With one import changed it gets every loss and gradient from a server, and learns the same weights::

    from losswire_client.torch import nn  # for: from torch import nn

``LOSSWIRE_TARGET`` names the server, as in ``LOSSWIRE_TARGET=localhost:50051 python train_digits.py``.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 5
BATCH_ROWS = 64
HELD_OUT_ROWS = 360


def main() -> None:
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.get_default_dtype()).flatten(1)
    digits = torch.tensor(data.target)
    model = train(images[:-HELD_OUT_ROWS], digits[:-HELD_OUT_ROWS])
    predictions = model(images[-HELD_OUT_ROWS:]).argmax(1)
    accuracy = (predictions == digits[-HELD_OUT_ROWS:]).double().mean()
    print(f"{accuracy:.1%} of {HELD_OUT_ROWS} held-out digits are recognised.")


def train(images: torch.Tensor, digits: torch.Tensor) -> torch.nn.Module:  # (N, 64), (N)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    loss_function = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(EPOCHS):
        for x, y in DataLoader(TensorDataset(images, digits), BATCH_ROWS, shuffle=True):
            optimizer.zero_grad()
            loss_function(model(x), y).backward()
            optimizer.step()
    return model


if __name__ == "__main__":
    main()
