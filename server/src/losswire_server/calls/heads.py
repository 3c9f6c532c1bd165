"""Heads: read, named and deleted. How they are registered is in `registration.py`."""

import asyncio

from google.protobuf.timestamp_pb2 import Timestamp

from losswire import v1
from losswire.heads.rules import check_alias, check_digest, check_name, is_digest
from losswire_server.calls.evaluation import Caller
from losswire_server.errors import NotServedError
from losswire_server.heads.absent import no_heads
from losswire_server.heads.errors import NoSuchHeadError
from losswire_server.heads.held import Held
from losswire_server.heads.registry import Heads
from losswire_server.requests.heads.permitted import permitted


class HeadCalls:
    """Answers the calls of HeadService, but for registrations. Use it in the event loop.

    Args:
        heads: What this server holds; None if it holds none.
        may_register: Whether callers may register heads.
    """

    def __init__(self, heads: Heads | None, *, may_register: bool) -> None:
        self._held = heads
        self._may_register = may_register

    async def get(self, request: v1.GetHeadRequest, caller: Caller) -> v1.GetHeadResponse:
        """One head.

        Raises:
            NoSuchHeadError: It is not here.
            Exception: Of every call here: `FieldError`, `NotServedError` and `NotPermittedError`.
        """
        found = _existing(self.heads("GetHead"), request.name, "name", caller)
        return v1.GetHeadResponse(head=head_message(found, caller))

    async def list_heads(self, _: v1.ListHeadsRequest, caller: Caller) -> v1.ListHeadsResponse:
        """The heads that the caller may use, by the names that it may use."""
        held = filter(caller.permission.permits_head, self.heads("ListHeads").held())
        return v1.ListHeadsResponse(heads=[head_message(each, caller) for each in held])

    async def set_alias(self, request: v1.SetHeadAliasRequest, caller: Caller) -> v1.SetHeadAliasResponse:
        """Names a head, which the caller must be able to use already: all whose patterns the alias matches may use it.

        Raises:
            NoSuchHeadError: It is not here.
            HeadQuotaError: It has as many names as it may have.
        """
        heads = self.registering("SetHeadAlias", caller)
        check_alias(request.alias, "alias")
        check_digest(request.digest, "digest")
        caller.permission.check_alias(request.alias, "alias")
        _ = _existing(heads, request.digest, "digest", caller)
        return v1.SetHeadAliasResponse(head=head_message(heads.set_alias(request.alias, request.digest), caller))

    async def delete(self, request: v1.DeleteHeadRequest, caller: Caller) -> v1.DeleteHeadResponse:
        """Deletes a head or an alias, in another thread: to free gigabytes takes long.

        Raises:
            NoSuchHeadError: It is not here.
        """
        heads = self.heads("DeleteHead")
        caller.permission.check_registers_heads()
        found = _existing(heads, request.name, "name", caller)
        if is_digest(request.name):
            caller.permission.check_deletes(found)
        await asyncio.to_thread(heads.delete, request.name)
        return v1.DeleteHeadResponse()

    def heads(self, rpc: str) -> Heads:
        """What this server holds.

        Raises:
            NotServedError: It holds none.
        """
        if self._held is None:
            raise no_heads(rpc)
        return self._held

    def registering(self, rpc: str, caller: Caller) -> Heads:
        """The same, for a caller who changes it.

        Raises:
            NotServedError: Callers may not.
            NotPermittedError: This caller may not.
        """
        heads = self.heads(rpc)
        if not self._may_register:
            raise NotServedError(
                rpc, "this server has the heads that its operator gave, and lets callers register none"
            )
        caller.permission.check_registers_heads()
        return heads


def head_message(held: Held, caller: Caller) -> v1.HeldHead:
    """A head as a caller is told of it: with the names that the caller may use."""
    created = Timestamp()
    created.FromNanoseconds(round(held.created_at * 1e9))
    return v1.HeldHead(
        digest=held.digest,
        head=held.form,
        aliases=filter(caller.permission.permits_name, held.aliases),
        memory_bytes=held.nbytes,
        create_time=created,
        permanent=held.permanent,
    )


def _existing(heads: Heads, name: str, field: str, caller: Caller) -> Held:
    check_name(name, field)
    found = permitted(heads, caller.permission).find(name, field)
    if found is None:
        raise NoSuchHeadError(name)
    return found
