"""The calls about heads as callers see them: for clients that wait, and for clients that are awaited."""

from losswire_client._calls import checks_call
from losswire_client._flow import run
from losswire_client._heads.calls import HeadCalls
from losswire_client._heads.held import HeldHead
from losswire_client._heads.progress import check_progress
from losswire_client._request.head import Head


class HeadMethods:
    """Methods of `Client`."""

    _heads: HeadCalls

    @checks_call
    def register_head(
        self, head: Head, alias: str | None = None, progress: bool = False, *, timeout: float | None = None
    ) -> HeldHead:
        """Gives a head to the server, unless it has it. An upload that breaks off goes on where it was, also later.

        Calls that are given a `Head` do this themselves when the server lacks it. It is worth a call of its own if the
        head takes long to send, or gets an alias. Of several servers behind one name, one gets it.

        Args:
            head: The head.
            alias: A further name on this server: up to 200 letters, digits and any of ``_.:/-``. If it is the alias of
                another head, it is this one's from now on.
            progress: Whether to show a bar. Needs the extra ``progress``.
            timeout: Seconds that this call may take; the client's if None.

        Raises:
            NotServedError: The server holds no heads, or takes none from callers.
            ResourceExhaustedError: The server has no room for it.
            InvalidArgumentError: An argument is wrong; or the arrays of the head were written to, so that its digest is
                another.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        return run(self._heads.register(head, alias, timeout, shows=check_progress(progress)))

    @checks_call
    def heads(self, *, timeout: float | None = None) -> list[HeldHead]:
        """All heads that the server holds, by their digests.

        Raises:
            LosswireError: The call failed; the package's docstring draws the tree.
        """
        return run(self._heads.list_heads(timeout))

    @checks_call
    def get_head(self, name: str | Head, *, timeout: float | None = None) -> HeldHead:
        """A head that the server holds.

        Args:
            name: Its digest or an alias, or the head itself.
            timeout: Seconds that this call may take; the client's if None.

        Raises:
            HeadNotFoundError: The server does not hold it.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        return run(self._heads.get(name, timeout))

    @checks_call
    def set_head_alias(self, alias: str, name: str | Head, *, timeout: float | None = None) -> HeldHead:
        """Gives a head that the server holds a further name.

        Args:
            alias: The name. Calls that have begun keep the head that had it.
            name: Digest or another alias of the head, or the head itself, which is registered if the server lacks it.
            timeout: Seconds that this call may take; the client's if None.

        Raises:
            HeadNotFoundError: The server does not hold it.
            InvalidArgumentError: The alias is none.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        return run(self._heads.set_alias(alias, name, timeout))

    @checks_call
    def delete_head(self, name: str | Head, *, timeout: float | None = None) -> None:
        """Takes a head from the server. Calls that use it still end as they would.

        Args:
            name: Its digest, or the head itself; or an alias, which alone is then taken.
            timeout: Seconds that this call may take; the client's if None.

        Raises:
            HeadNotFoundError: The server does not hold it.
            PermissionDeniedError: The server's operator gave it to the server.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        run(self._heads.delete(name, timeout))


class AsyncHeadMethods:
    """Methods of `AsyncClient`."""

    _heads: HeadCalls

    @checks_call
    async def register_head(
        self, head: Head, alias: str | None = None, progress: bool = False, *, timeout: float | None = None
    ) -> HeldHead:
        """As `Client.register_head`."""
        return await self._heads.register(head, alias, timeout, shows=check_progress(progress))

    @checks_call
    async def heads(self, *, timeout: float | None = None) -> list[HeldHead]:
        """As `Client.heads`."""
        return await self._heads.list_heads(timeout)

    @checks_call
    async def get_head(self, name: str | Head, *, timeout: float | None = None) -> HeldHead:
        """As `Client.get_head`."""
        return await self._heads.get(name, timeout)

    @checks_call
    async def set_head_alias(self, alias: str, name: str | Head, *, timeout: float | None = None) -> HeldHead:
        """As `Client.set_head_alias`."""
        return await self._heads.set_alias(alias, name, timeout)

    @checks_call
    async def delete_head(self, name: str | Head, *, timeout: float | None = None) -> None:
        """As `Client.delete_head`."""
        await self._heads.delete(name, timeout)
