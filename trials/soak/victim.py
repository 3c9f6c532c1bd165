"""A client that is killed: ``python -m trials.soak.victim REACH``. It streams and holds regions until its end."""

import itertools
import sys

import numpy as np

from losswire_client import Client
from trials.soak.ways import Reach

ROWS, CLASSES = 2000, 1000  # 8 MB, so that it is killed in the middle of a batch


def main() -> None:
    batch = np.zeros((ROWS, CLASSES), np.float32), np.zeros(ROWS, np.int64)
    told = Reach.of(sys.argv[1]).arguments()
    with Client(**told, transport="stream") as stream, Client(**told, transport="shared_memory") as memory:
        print("calling", flush=True)
        for client in itertools.cycle((stream, memory)):
            client.cross_entropy(*batch, grad=True)


if __name__ == "__main__":
    main()
