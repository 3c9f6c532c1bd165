"""A head that a caller may not use is neither told of nor used, in every place where requests name heads."""

import pytest

from losswire_server.errors import NotPermittedError
from losswire_server.heads.absent import NO_HEADS
from losswire_server.heads.errors import HeadNotFoundError
from losswire_server.heads.registry import Heads
from losswire_server.requests import cost
from losswire_server.requests.heads.named import name_by_digests, use_heads
from losswire_server.requests.heads.permitted import permitted
from losswire_server.requests.permission import ANYTHING, Permission
from tests.server.calls.heads.served import states
from tests.server.heads.making import add

TEAM = Permission(heads=("team/*",), caller="team")


@pytest.fixture
def heads():
    return Heads(2**20, 3)


def test_caller_without_patterns_uses_all(heads):
    assert permitted(heads, ANYTHING) is heads
    assert permitted(NO_HEADS, ANYTHING) is NO_HEADS


def test_own_head_is_used_by_both_of_its_names(heads):
    held = add(heads, alias="team/a")
    seen = permitted(heads, TEAM)
    assert seen.use("team/a", "f") is seen.use(held.digest, "f") is heads.use(held.digest, "f")
    assert seen.find("team/a", "f") == seen.find(held.digest, "f") == held


def test_digest_is_out_of_reach_once_its_alias_has_moved(heads):
    first, second = add(heads, 0).digest, add(heads, 1).digest
    for name, permits in ((first, True), (second, False)):
        heads.set_alias("team/a", name)
        assert (permitted(heads, TEAM).find(first, "f") is not None) == permits


@pytest.mark.parametrize("name", ["other/a", "digest", "0" * 64])
def test_other_head_is_neither_used_nor_told_of(heads, name):
    """It stays the one that was used the longest ago, and makes room."""
    other, later = add(heads, 0, alias="other/a").digest, add(heads, 1).digest
    add(heads, 2)
    request, seen = states(other if name == "digest" else name).request, permitted(heads, TEAM)
    expected = NotPermittedError if name == "other/a" else HeadNotFoundError
    with pytest.raises(expected):
        use_heads(request.spec, seen)
    if expected is NotPermittedError:
        for look in (cost.element_count_of, lambda asked, held: name_by_digests(asked.spec, held)):
            with pytest.raises(NotPermittedError, match=r"^spec\.linear_cross_entropy\.head: expected a head that"):
                look(request, seen)
    else:
        assert cost.element_count_of(request, seen) == 0
        name_by_digests(request.spec, seen)  # a run needs no head
    add(heads, 3)
    assert heads.find(other) is None
    assert heads.find(later) is not None
