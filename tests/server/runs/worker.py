"""A process that commits keys, and prints each once it is acknowledged.

Arguments: an address, the run, the first key, how many keys, and how many callers commit at a time.
"""

import asyncio
import sys

from losswire_server.runs.runs import Runs
from tests.server.runs.making import entry


def losses_of(number: int) -> tuple[float, ...]:
    """Of a key: of any magnitude and sign, the same in every process."""
    return (number + 0.1, -(2.0 ** (number % 900)), 1e-300 * number)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def commit_all(runs: Runs, run: str, numbers: range, callers: int) -> None:
    waiting = iter(numbers)

    async def commit_some() -> None:
        for number in waiting:
            one = entry(f"k{number}", *losses_of(number), run=run, slice=f"s{number % 3}")
            (outcome,) = await runs.commit([one])
            tell(f"k{number} {outcome}")

    await asyncio.gather(*(commit_some() for _ in range(callers)))


if __name__ == "__main__":
    place, run, first, count, callers = sys.argv[1:]
    store = Runs(place)
    store.open()
    tell("open")
    asyncio.run(commit_all(store, run, range(int(first), int(first) + int(count)), int(callers)))
    store.close()
