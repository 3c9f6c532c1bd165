"""From the names of heads in a request to the heads that the server holds."""

from collections.abc import Mapping
from types import MappingProxyType

import ce_engine
from losswire import v1
from losswire.fields import field_of
from losswire.heads.rules import check_name, is_digest
from losswire.losses import LOSSES, heads_of, loss_of, options_of
from losswire.rows import class_count
from losswire_server.heads.absent import UsesHeads
from losswire_server.heads.errors import HeadNotFoundError

NamedHeads = Mapping[str, ce_engine.Head]  # by the arguments of a loss that name them
NO_NAMES: NamedHeads = MappingProxyType({})


def use_heads(spec: v1.LossSpec, held: UsesHeads) -> NamedHeads:
    """The heads that a loss names. It has their digests in place of aliases from then on.

    An alias may become another head's at any time, and what follows must be about one head.

    Raises:
        FieldError: A name is none.
        HeadNotFoundError: A head is not held.
        NotPermittedError: The caller may not use an alias.
        NotServedError: No heads are held here.
    """
    named = heads_of(spec)
    return {argument: _use(spec, argument, name, held) for argument, name in named.items()} if named else NO_NAMES


def _use(spec: v1.LossSpec, argument: str, name: str, held: UsesHeads) -> ce_engine.Head:
    field = field_of(argument, spec)
    check_name(name, field)
    found = None if is_digest(name) else held.find(name, field)
    if found is not None:
        name = found.digest
        setattr(options_of(spec), argument, name)
    return held.use(name, field)


def name_by_digests(spec: v1.LossSpec, held: UsesHeads) -> None:
    """Puts digests in place of the aliases of heads. A head that is named by its digest need not be held.

    Raises:
        FieldError: A name is none.
        HeadNotFoundError: No head has an alias.
        NotPermittedError: The caller may not use an alias.
    """
    for argument, name in heads_of(spec).items():
        field = field_of(argument, spec)
        check_name(name, field)
        if not is_digest(name):
            if (found := held.find(name, field)) is None:
                raise HeadNotFoundError(name)
            setattr(options_of(spec), argument, found.digest)


def classes_of(request: v1.EvaluateRequest, heads: NamedHeads) -> int:
    """C, or the head's V; 1 for the binary losses. The request passes `check_request`."""
    if "head" in heads:
        return heads["head"].class_count
    kind = LOSSES[loss_of(request.spec)]
    return 1 if kind.elementwise else class_count(tuple(request.input.shape), last=kind.classes_last)
