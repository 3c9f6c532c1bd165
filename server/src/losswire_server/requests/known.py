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
from losswire.losses import loss_of
from losswire.parsing import parse
from losswire.payloads import NO_PAYLOADS, Payloads, parse_apart
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests.cost import element_count
from losswire_server.requests.decoding import from_bytes, to_torch
from losswire_server.requests.ends import Labels, shared_bytes
from losswire_server.requests.groups import taken_apart
from losswire_server.requests.needed import Reserve, needed_bytes
from losswire_server.requests.one import Respond, plan_request, to_answer
from losswire_server.requests.planning import PLANS, arguments, by_field, tallied

MOST = 256  # forms
MAX_FORM_BYTES = 1024  # with the elements of weights


class Asked(NamedTuple):
    """What a request asks for.

    Attributes:
        labels: Of the metrics.
        elements: How many the input has.
        targets: How many elements the target has.
        shared_bytes: Of its tensors that lie in shared memory.
        plan: Plans it, once. Reserves what it takes. Returns the slab, and a function that turns the slab's result into
            the answer.
    """

    labels: Labels
    elements: int
    targets: int
    shared_bytes: int
    plan: Callable[[Reserve], tuple[ce_engine.Slab, Respond]]


class KnownRequests:
    """Reads requests, and remembers the forms of small ones.

    Args:
        regions: Of shared memory.
    """

    def __init__(self, regions: Regions = OFF) -> None:
        self._regions = regions
        self._forms: dict[bytes, _Form | None] = {}  # None: it was right once, and may never come again

    def read(self, data: bytes) -> Asked:
        """Reads an EvaluateRequest.

        Raises:
            DecodeError: The bytes are no EvaluateRequest.
            FieldError: See `parse`.
        """
        try:
            form, elements = taken_apart(data)
        except (DecodeError, FieldError):
            form, elements = None, {}  # `parse` says what is wrong
        known = None if form is None else self._forms.get(form)
        return self._read_anew(data, form) if known is None else known.asked(elements)

    def _read_anew(self, data: bytes, form: bytes | None) -> Asked:
        payloads: Payloads = NO_PAYLOADS
        if form is None:  # large, or wrong
            request, payloads = parse_apart(v1.EvaluateRequest, data)
        else:
            request = parse(v1.EvaluateRequest, data)
        counts = element_count(request.input), element_count(request.target)
        plan = partial(self._plan_anew, [(request, payloads)], form)
        return Asked(Labels.of(request, "unary"), *counts, shared_bytes(request), plan)

    def _plan_anew(
        self, only: list[tuple[v1.EvaluateRequest, Payloads]], form: bytes | None, reserve: Reserve
    ) -> tuple[ce_engine.Slab, Respond]:
        request, payloads = only.pop()  # so that it does not wait with the slab
        planned = plan_request(request, self._regions, payloads, reserve)
        if form is not None and len(form) <= MAX_FORM_BYTES and _lies_in_message(request):
            self._remember(form, request)
        return planned

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
    """

    spec: v1.LossSpec
    options: dict[str, Any]
    own: dict[str, tuple[torch.dtype, torch.Size]]
    labels: Labels
    elements: int
    targets: int
    needed_bytes: int

    @classmethod
    def of(cls, request: v1.EvaluateRequest) -> "_Form":
        options = arguments(request, to_torch)
        own = {name: options[name] for name in ("input", "target", "sample_weight") if options[name] is not None}
        spec = v1.LossSpec()
        spec.CopyFrom(request.spec)
        return cls(
            spec,
            {name: option for name, option in options.items() if name not in own},
            {name: (tensor.dtype, tensor.shape) for name, tensor in own.items()},
            Labels.of(request, "unary"),
            element_count(request.input),
            element_count(request.target),
            needed_bytes(request),
        )

    def asked(self, elements: Mapping[str, bytes]) -> Asked:
        return Asked(self.labels, self.elements, self.targets, 0, partial(self._plan, elements))

    def _plan(self, elements: Mapping[str, bytes], reserve: Reserve) -> tuple[ce_engine.Slab, Respond]:
        reserve(self.needed_bytes)
        own = {name: from_bytes(memoryview(elements[name]), *form, name) for name, form in self.own.items()}
        with by_field(self.spec):
            slab = PLANS[loss_of(self.spec)](**own, **self.options)
        return tallied(slab), partial(to_answer, span=None)


def _lies_in_message(request: v1.EvaluateRequest) -> bool:
    """Whether nothing of a request lies in shared memory."""
    tensors = (tensor for _, tensor in tensors_in(request))
    return not (request.outputs.gradient.HasField("destination") or any(x.HasField("shared_memory") for x in tensors))
