"""An evaluation by three workers to which accidents happen: a worker and the server are killed while they work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleet import Answer, Fleet
from service import Service
from validation import Part

from losswire_client import PreconditionError, Run

NAMES = ("A", "B", "C")
VICTIM = "B"


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        answers: All that workers were told.
        server_died_by: The signal; 0 if it did not die.
        lost: Keys that were acknowledged before the server died, and that the next one does not have.
        missing: Keys that the run lacked when it was to be finished too early.
    """

    answers: list[Answer]
    server_died_by: int
    lost: list[str]
    missing: list[str]


class Accidents:
    """An evaluation with accidents.

    Args:
        run: What the workers add to.
        workers: Evaluate the parts. One of them is killed, and later starts again.
        service: Is killed too, and starts again at once.
        tell: Prints a line.
    """

    def __init__(self, run: Run, workers: Fleet, service: Service, tell: Callable[[str], None]) -> None:
        self._run = run
        self._workers = workers
        self._service = service
        self._tell = tell
        self._answers: list[Answer] = []
        self._server_died_by = 0
        self._lost: list[str] = []

    def evaluate(self, parts: Sequence[Part]) -> Outcome:
        """Has all parts evaluated."""
        shares = overlapping(parts)
        for name, share in shares.items():
            self._workers.start(name, share)
        self._follow(victim_keys=len(shares[VICTIM]) // 3, all_keys=len(parts) // 2)
        missing = self._missing_when_finished(parts)
        self._tell(f"Worker {VICTIM} starts again, with all {len(shares[VICTIM])} keys that it had.")
        self._workers.start(VICTIM, shares[VICTIM])
        self._answers += self._workers.answers()
        return Outcome(self._answers, self._server_died_by, self._lost, missing)

    def _follow(self, victim_keys: int, all_keys: int) -> None:
        """Reads answers until all workers have ended, and kills the victim and the server after so many keys."""
        for answer in self._workers.answers():
            self._answers.append(answer)
            of_victim = [answer for answer in self._answers if answer.worker == VICTIM]
            if answer.worker == VICTIM and len(of_victim) == victim_keys:
                self._workers.kill(VICTIM)
                self._tell(f"Worker {VICTIM} is killed after {victim_keys} keys.")
            if len(self._answers) == all_keys:
                self._kill_server()

    def _kill_server(self) -> None:
        acknowledged = [answer.key for answer in self._answers]
        self._tell(f"The server is killed after {len(acknowledged)} keys. The workers go on trying.")
        self._server_died_by = self._service.kill_and_restart()
        self._lost = self._run.missing(acknowledged)
        self._tell(f"Another server has its file. Of these keys it lacks {len(self._lost)}.")

    def _missing_when_finished(self, parts: Sequence[Part]) -> list[str]:
        try:
            self._run.finish([part.key for part in parts])
        except PreconditionError as error:
            self._tell(f"The run cannot be finished yet: {len(error.missing)} keys are missing.")
            return error.missing
        return []


def overlapping(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """The parts of each worker. The last one of a worker is also the first one of the next worker."""
    bounds = [round(number * len(parts) / len(NAMES)) for number in range(len(NAMES) + 1)]
    return {name: list(parts[first : end + 1]) for name, first, end in zip(NAMES, bounds, bounds[1:], strict=False)}
