"""A caller in a process of its own, so that its memory can be measured: ``python -m trials.soak.caller SEED``.

Each line of its standard input is a number of seconds in which it makes calls of all kinds, and how it reaches the
server. It answers each line with how they ended, in JSON. It gives free memory back to the kernel before it answers.
"""

import ctypes
import gc
import json
import sys
import time
from collections import Counter
from typing import Any

from trials.soak.kinds import Kinds
from trials.soak.ways import Reach
from trials.twin.check import WrongAnswerError


def calls(kinds: Kinds, seconds: float) -> dict[str, Any]:
    """Makes calls for so long. Returns their ends by kind, and what was wrong."""
    ends: Counter[str] = Counter()
    wrong = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            kind, ended = kinds.any()
            ends.update(f"{kind}: {end}" for end in ended)
        except (WrongAnswerError, AssertionError) as error:
            wrong.append(str(error))
    return {"ends": ends, "wrong": wrong}


def main() -> None:
    kinds = Kinds(int(sys.argv[1]))
    kinds.prepare()
    try:
        for line in sys.stdin:
            seconds, _, reach = line.partition(" ")
            kinds.connect(Reach.of(reach))
            answer = calls(kinds, float(seconds))
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            print(json.dumps(answer), flush=True)
    finally:
        kinds.close()


if __name__ == "__main__":
    main()
