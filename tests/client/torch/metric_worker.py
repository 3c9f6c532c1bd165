"""One of two processes, each with its own shards. Prints the means over both, which torch.distributed adds up."""

import json
import sys

import torch
from torch import Tensor, distributed

from losswire_client import Client
from losswire_client.torchmetrics import CrossEntropy

BATCH_ROWS = 40


def mean_and_weight(logits: Tensor, target: Tensor, client: Client) -> tuple[float, float]:
    metric = CrossEntropy(ignore_index=2, client=client)
    for first in range(0, len(logits), BATCH_ROWS):  # an empty shard has no batch
        metric.update(logits[first : first + BATCH_ROWS], target[first : first + BATCH_ROWS])
    with metric.sync_context():
        weight_sum = float(metric.weight_sum)
    return float(metric.compute()), weight_sum


def main(address: str, data: str, rendezvous: str, rank: int) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    with Client(address) as client:
        json.dump([mean_and_weight(x[rank], y[rank], client) for x, y in torch.load(data)], sys.stdout)
    distributed.destroy_process_group()


_, address, data, rendezvous, rank = sys.argv
main(address, data, rendezvous, int(rank))
