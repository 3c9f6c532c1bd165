import pytest

from losswire import v1
from losswire_server.errors import NotPermittedError
from losswire_server.heads.held import Held
from losswire_server.requests.permission import ANYTHING, Permission


@pytest.mark.parametrize(
    ("permission", "loss", "series"),
    [
        (ANYTHING, "cross_entropy", "any"),
        (Permission(losses=("nll_loss",)), "nll_loss", "any"),
        (Permission(losses=("nll_loss",)), "", "any"),  # the request is wrong, which it is told
        (Permission(series=("team/*",)), "nll_loss", "team/a/b"),
        (Permission(series=("other", "team/*")), "nll_loss", "other"),
        (Permission(series=("", "team/*")), "nll_loss", ""),
    ],
)
def test_permitted_request_passes(permission, loss, series):
    permission.check(loss, series)


@pytest.mark.parametrize(
    ("permission", "loss", "series", "said"),
    [
        (
            Permission(losses=("nll_loss", "cross_entropy")),
            "binary_cross_entropy",
            "",
            "spec.loss: expected one that this caller may evaluate, cross_entropy, nll_loss; got binary_cross_entropy",
        ),
        (Permission(losses=()), "nll_loss", "", "spec.loss: .*, none; got nll_loss"),
        (
            Permission(series=("team/*",)),
            "nll_loss",
            "",
            r"series: expected .* may use, team/\*; got none",
        ),
        (Permission(series=("team/*",)), "nll_loss", "Team/a", "series: .*got Team/a"),
        (Permission(series=("team/*",)), "nll_loss", "x\n" * 9999, r"series: .*got x\\nx\\n.*\.\.\.$"),
    ],
)
def test_other_request_is_refused_by_name(permission, loss, series, said):
    with pytest.raises(NotPermittedError, match=said) as refused:
        permission.check(loss, series)
    assert len(str(refused.value)) < 300


DIGEST = "a1" * 32
TEAM = Permission(heads=("team/*",), caller="team")


def held(*aliases, senders=()):
    return Held(DIGEST, v1.Head(), aliases, 0, 0.0, permanent=False, senders=frozenset(senders))


@pytest.mark.parametrize(
    ("permission", "head", "permits"),
    [
        (ANYTHING, held(), True),
        (TEAM, held("other/a", "team/a"), True),
        (TEAM, held("other/a"), False),
        (TEAM, held(), False),
        (TEAM, held(senders=("team",)), True),
        (TEAM, held(senders=("other",)), False),
        (Permission(heads=("*",)), held(), True),
        (Permission(heads=("a1*",)), held("other/a"), True),
        (Permission(heads=()), held("team/a"), False),
    ],
)
def test_head_is_permitted_by_any_of_its_names_or_to_its_sender(permission, head, permits):
    assert permission.permits_head(head) == permits


@pytest.mark.parametrize(
    ("permission", "head"),
    [
        (ANYTHING, held("team/a", senders=("team",))),
        (TEAM, held("team/a")),
        (TEAM, held("team/a", senders=("team",))),
        (Permission(heads=("a1*",), caller="team"), held("other/a", senders=("other",))),
    ],
)
def test_head_may_be_deleted_by_whom_it_belongs_to(permission, head):
    permission.check_deletes(head)


@pytest.mark.parametrize("head", [held("team/a", "other/a"), held("team/a", senders=("team", "other"))])
def test_head_that_others_use_too_may_not_be_deleted(head):
    with pytest.raises(NotPermittedError, match="name: expected an alias, since others use this head too"):
        TEAM.check_deletes(head)


def test_digest_passes_where_an_alias_is_refused():
    TEAM.check_alias(DIGEST, "f")
    TEAM.check_alias("team/a", "f")
    with pytest.raises(NotPermittedError, match=r"f: expected a head that this caller may use, team/\*; got other/a"):
        TEAM.check_alias("other/a", "f")
