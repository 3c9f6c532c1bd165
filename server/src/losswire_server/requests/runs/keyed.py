"""What an evaluation with a key adds to its run."""

from typing import NamedTuple

from losswire import v1
from losswire.errors import FieldError
from losswire.fields import OWN_TENSORS
from losswire.losses import loss_of, options_of
from losswire.payloads import NO_PAYLOADS, Payloads
from losswire.runs import check_run_key, check_run_spec, spec_digest
from losswire_server.requests.runs.exact import Exact
from losswire_server.runs.records import Entry

MOST_WEIGHT_BYTES = 2**21  # no run has more: a request that creates one takes no more


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
    def of(cls, request: v1.EvaluateRequest, payloads: Payloads = NO_PAYLOADS) -> "Keyed | None":
        """The place of a request in a run; None if it is in none.

        Args:
            request: It may lack elements of large tensors.
            payloads: The elements that it lacks.

        Raises:
            FieldError: A name is wrong, or a weight depends on the batch or is too large.
        """
        if not request.HasField("run_key"):
            return None
        run_key = v1.RunKey()
        run_key.CopyFrom(request.run_key)
        check_run_key(run_key)
        spec = _with_weights(request.spec, payloads)
        check_run_spec(spec)
        return cls(run_key, spec_digest(spec), request.exact.by_class)

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


def _with_weights(spec: v1.LossSpec, payloads: Payloads) -> v1.LossSpec:
    """A loss with the elements of its own tensors."""
    lacked = {name: f"spec.{loss_of(spec)}.{name}" for name in OWN_TENSORS}
    if not any(path in payloads for path in lacked.values()):
        return spec
    whole = v1.LossSpec()
    whole.CopyFrom(spec)
    for name, path in lacked.items():
        if path in payloads:
            if len(payloads[path]) > MOST_WEIGHT_BYTES:
                raise FieldError(path, f"expected at most {MOST_WEIGHT_BYTES} bytes, for a run")
            getattr(options_of(whole), name).data = bytes(payloads[path])
    return whole
