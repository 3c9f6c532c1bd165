"""The heads that one caller may use, of those that a server holds."""

import ce_engine
from losswire_server.heads.absent import UsesHeads
from losswire_server.heads.errors import HeadNotFoundError
from losswire_server.heads.held import Held
from losswire_server.requests.permission import Permission


def permitted(held: UsesHeads, permission: Permission) -> UsesHeads:
    """The heads that a caller may use. It meets others nowhere: see `PermittedHeads`."""
    return held if permission.heads is None else PermittedHeads(held, permission)


class PermittedHeads:
    """The heads that a caller with patterns may use.

    An alias that matches none of them is refused, whether a head has it or not. A digest that the caller may not use is
    answered as one that is not here, so that nobody learns of the heads of others.
    """

    def __init__(self, held: UsesHeads, permission: Permission) -> None:
        self._held = held
        self._permission = permission

    def find(self, name: str, field: str) -> Held | None:
        """As `UsesHeads`."""
        self._permission.check_alias(name, field)
        found = self._held.find(name, field)
        return None if found is None or not self._permission.permits_head(found) else found

    def use(self, name: str, field: str) -> ce_engine.Head:
        """As `UsesHeads`."""
        if self.find(name, field) is None and self._held.find(name, field) is not None:
            raise HeadNotFoundError(name)
        return self._held.use(name, field)
