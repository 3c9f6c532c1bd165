"""Measures the kernels, the engine and the service on a GPU. Run it with ``make bench-gpu``."""

import argparse
from collections.abc import Iterator

import torch

from benchmarks.gpu import heads, kernels, pipeline, service

SMOKE_RUNS = 3
PARTS = ("kernels", "heads", "pipeline", "service")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--runs", type=int, default=31, help="of each measurement (%(default)s)")
    parser.add_argument("--part", choices=PARTS, action="append", help="to measure; may be repeated (all)")
    parser.add_argument("--only", default="", help="kernels whose description has this in it, as in 'C=32000 bfloat16'")
    parser.add_argument("--smoke", action="store_true", help="few runs of small sets: shows that it works, no more")
    return parser.parse_args()


def lines(arguments: argparse.Namespace) -> Iterator[str]:
    import triton

    runs, parts = SMOKE_RUNS if arguments.smoke else arguments.runs, arguments.part or PARTS
    yield f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}, {runs} runs"
    if "kernels" in parts:
        yield from kernels.lines(arguments.only, runs, smoke=arguments.smoke)
    if "heads" in parts:
        yield from heads.lines(runs, smoke=arguments.smoke)
    if "pipeline" in parts:
        yield from pipeline.lines(4 * runs)
    if "service" in parts:
        yield from service.lines("cuda", runs)


def main() -> None:
    arguments = parse_arguments()
    if not torch.cuda.is_available():
        print("not measured: there is no GPU here, or PyTorch finds none")
        return
    for line in lines(arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
