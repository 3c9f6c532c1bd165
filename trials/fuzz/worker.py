"""Fuzzes one target in this process, which libFuzzer ends: ``python -m trials.fuzz.worker PROGRAM TARGET FLAGS...``.

The program starts such a process anew. The flags are libFuzzer's.
"""

import logging
import random
import sys

import atheris

INSTRUMENTED = ["losswire", "losswire_server", "ce_engine"]


def main() -> None:
    with atheris.instrument_imports(include=INSTRUMENTED):
        import torch

        from trials.fuzz.targets import TARGETS
    torch.set_num_threads(1)
    logging.disable()
    program, name, *flags = sys.argv[1:]
    target = TARGETS[name]

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        """Half of the mutations are libFuzzer's, of bytes; the others know the message."""
        rng = random.Random(seed)
        changed = target.mutate(data, rng) if rng.random() < 0.5 else b""
        return changed if 0 < len(changed) <= max_size else atheris.Mutate(data, max_size)

    atheris.Setup([program, *flags], target.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
