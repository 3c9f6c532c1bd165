import pytest

from losswire_server.errors import NotPermittedError
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
