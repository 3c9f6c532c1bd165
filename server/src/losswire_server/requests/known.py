"""Remembers requests that were right. One that differs from two others in elements alone is not checked as a whole.

Checking a small request and reading its options takes the server longer than its losses.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from google.protobuf.message import DecodeError

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.fields import tensors_in
from losswire.losses import heads_of, loss_of
from losswire.parsing import parse
from losswire.payloads import NO_PAYLOADS, Payloads, parse_apart
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests.cost import element_count_of, target_count
from losswire_server.requests.decoding import from_bytes, to_torch
from losswire_server.requests.ends import Labels, shared_bytes
from losswire_server.requests.groups import OWN, Apart, taken_apart
from losswire_server.requests.needed import Reserve, needed_bytes
from losswire_server.requests.one import Respond, plan_request, to_answer
from losswire_server.requests.planning import PLANS, arguments, by_field, summing
from losswire_server.requests.runs.exact import Exactness, exactness
from losswire_server.requests.runs.keyed import Keyed

MOST = 256  # forms
MAX_FORM_BYTES = 1024  # with the elements of weights


class Asked(NamedTuple):
    """What a request asks for.

    Attributes:
        labels: Of the metrics.
        elements: How many are evaluated, as in `element_count_of`.
        targets: How many are checked, as in `target_count`.
        shared_bytes: Of its tensors that lie in shared memory.
        run: The name of its run; empty if it is in none.
        plan: Plans it, once. Reserves what it takes. Returns the slab, a function that turns the slab's result into the
            answer, and its place in a run.
    """

    labels: Labels
    elements: int
    targets: int
    shared_bytes: int
    run: str
    plan: Callable[[Reserve], tuple[ce_engine.Slab, Respond, Keyed | None]]


class KnownRequests:
    """Reads requests, and remembers the forms of small ones.

    Args:
        regions: Of shared memory.
    """

    def __init__(self, regions: Regions = OFF) -> None:
        self._regions = regions
        self._forms: dict[bytes, _Form | None] = {}  # None: it was right once, and may never come again

    def read(self, data: bytes, heads: UsesHeads = NO_HEADS) -> Asked:
        """Reads an EvaluateRequest of a caller who may use these heads.

        Raises:
            DecodeError: The bytes are no EvaluateRequest.
            FieldError: See `parse`.
            NotPermittedError: The caller may not use the alias of a head.
        """
        try:
            apart = taken_apart(data)
        except (DecodeError, FieldError):
            apart = Apart(None, {})  # `parse` says what is wrong
        known = None if apart.form is None else self._forms.get(apart.form)
        return self._read_anew(data, apart.form, heads) if known is None else known.asked(apart)

    def _read_anew(self, data: bytes, form: bytes | None, heads: UsesHeads) -> Asked:
        payloads: Payloads = NO_PAYLOADS
        if form is None:  # large, or wrong
            request, payloads = parse_apart(v1.EvaluateRequest, data)
        else:
            request = parse(v1.EvaluateRequest, data)
        counts = element_count_of(request, heads), target_count(request)
        plan = partial(self._plan_anew, [(request, payloads)], form, heads)
        return Asked(Labels.of(request, "unary"), *counts, shared_bytes(request), request.run_key.run, plan)

    def _plan_anew(
        self, only: list[tuple[v1.EvaluateRequest, Payloads]], form: bytes | None, heads: UsesHeads, reserve: Reserve
    ) -> tuple[ce_engine.Slab, Respond, Keyed | None]:
        request, payloads = only.pop()  # so that it does not wait with the slab
        slab, respond = plan_request(request, self._regions, payloads, reserve, heads)
        keyed = Keyed.of(request, payloads)
        if form is not None and len(form) <= MAX_FORM_BYTES and _is_by_itself(request):
            self._remember(form, request)
        return slab, respond, keyed

    def _remember(self, form: bytes, request: v1.EvaluateRequest) -> None:
        came_before = form in self._forms
        if len(self._forms) >= MOST and not came_before:
            self._forms.clear()
        self._forms[form] = _Form.of(request) if came_before else None


class _Form(NamedTuple):
    """What requests of one form have in common.

    Attributes:
        spec: Of all of them.
        options: Arguments of the engine's function, but for the tensors of the requests' own.
        own: Dtypes and shapes of these tensors.
        labels: See `Asked`, like `elements` and `targets`.
        needed_bytes: That each of them takes.
        exact: The exact sums that the engine computes.
        with_exact: Whether they are answered.
        keyed: The place of one of them in a run; None if they are in none.
    """

    spec: v1.LossSpec
    options: dict[str, Any]
    own: dict[str, tuple[torch.dtype, torch.Size]]
    labels: Labels
    elements: int
    targets: int
    needed_bytes: int
    exact: Exactness
    with_exact: bool
    keyed: Keyed | None

    @classmethod
    def of(cls, request: v1.EvaluateRequest) -> "_Form":
        options = arguments(request, to_torch)
        own = {name: options[name] for name in OWN if options.get(name) is not None}
        spec = v1.LossSpec()
        spec.CopyFrom(request.spec)
        return cls(
            spec,
            {name: option for name, option in options.items() if name not in own},
            {name: (tensor.dtype, tensor.shape) for name, tensor in own.items()},
            Labels.of(request, "unary"),
            element_count_of(request),
            target_count(request),
            needed_bytes(request),
            exactness(request),
            request.HasField("exact"),
            Keyed.of(request),
        )

    def asked(self, apart: Apart) -> Asked:
        run = "" if apart.run_key is None else apart.run_key.run
        plan = partial(self._plan, apart.elements, apart.run_key)
        return Asked(self.labels, self.elements, self.targets, 0, run, plan)

    def _plan(
        self, elements: Mapping[str, bytes], run_key: v1.RunKey | None, reserve: Reserve
    ) -> tuple[ce_engine.Slab, Respond, Keyed | None]:
        keyed = None if self.keyed is None or run_key is None else self.keyed.at(run_key)
        reserve(self.needed_bytes)
        own = {name: from_bytes(memoryview(elements[name]), *form, name) for name, form in self.own.items()}
        with by_field(self.spec):
            slab = PLANS[loss_of(self.spec)](**own, **self.options)
        return summing(slab, self.exact), partial(to_answer, span=None, with_exact=self.with_exact), keyed


def _is_by_itself(request: v1.EvaluateRequest) -> bool:
    """Whether nothing of a request lies in shared memory, or is a head, which would stay and may change its name."""
    if heads_of(request.spec):
        return False
    tensors = (tensor for _, tensor in tensors_in(request))
    return not (request.outputs.gradient.HasField("destination") or any(x.HasField("shared_memory") for x in tensors))
