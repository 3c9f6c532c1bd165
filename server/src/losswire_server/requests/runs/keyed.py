"""What an evaluation with a key adds to its run."""

from typing import NamedTuple

from losswire import v1
from losswire.runs import check_run_key, check_run_spec, spec_digest
from losswire_server.requests.runs.exact import Exact
from losswire_server.runs.records import Entry


class Keyed(NamedTuple):
    """The place of an evaluation in a run, checked.

    Attributes:
        run_key: As it came.
        digest: Of the loss and its options.
        by_class: Whether its sums by class come too.
    """

    run_key: v1.RunKey
    digest: str
    by_class: bool

    @classmethod
    def of(cls, request: v1.EvaluateRequest) -> "Keyed | None":
        """The place of a request in a run; None if it is in none.

        Raises:
            FieldError: A name is wrong, or a weight depends on the batch.
        """
        if not request.HasField("run_key"):
            return None
        run_key = v1.RunKey()
        run_key.CopyFrom(request.run_key)
        check_run_key(run_key)
        check_run_spec(request.spec)
        return cls(run_key, spec_digest(request.spec), request.exact.by_class)

    def at(self, run_key: v1.RunKey) -> "Keyed":
        """The place of a request that differs from this one in its key or slice.

        Raises:
            FieldError: A name is wrong.
        """
        check_run_key(run_key)
        return self._replace(run_key=run_key)

    def entry(self, exact: Exact | None) -> Entry:
        """What the run is given, once the request is evaluated."""
        if exact is None:
            raise TypeError("an evaluation with a key has exact sums")
        return Entry(self.run_key.run, self.run_key.key, self.run_key.slice, self.digest, exact.sums, exact.by_class)
