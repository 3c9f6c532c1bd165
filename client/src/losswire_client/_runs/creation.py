"""From the arguments of `Client.run` to the request that creates a run."""

from collections.abc import Mapping
from typing import Any

from losswire import v1
from losswire_client._calls import check_keywords
from losswire_client._errors import invalid_argument, shown
from losswire_client._request.fields import assign_text, check_choice
from losswire_client._runs.calls import expect_count
from losswire_client._runs.spec import Heads, options_of_loss, to_spec

KEYWORDS = ("loss", "by_class", "labels", "expected_keys", "accuracy", "series", "timeout")


def creation(
    client: object,
    name: str,
    loss: str,
    by_class: bool,
    labels: Mapping[str, str] | None,
    expected_keys: int | None,
    options: Mapping[str, Any],
) -> tuple[v1.CreateRunRequest, Heads]:
    """The request that creates a run, and the heads that its loss needs and that were handed in, by their digests.

    Raises:
        InvalidArgumentError: An argument is wrong, or the loss has no such option.
    """
    known = options_of_loss(loss)
    run_of = getattr(type(client), "run")  # noqa: B009 - the client is of either kind
    check_keywords(client, run_of, options, [*known, *KEYWORDS])
    check_choice("by_class", by_class, (False, True))
    spec, heads = to_spec(loss, {**known, **options})
    request = v1.CreateRunRequest(spec=spec, by_class=by_class)
    assign_text(request, "name", name)
    if expected_keys is not None:
        expect_count(request, "expected_key_count", "expected_keys", expected_keys)
    if labels is not None:
        _note(request, labels)
    return request, heads


def _note(request: v1.CreateRunRequest, labels: object) -> None:
    problem = invalid_argument("labels", f"expected texts by their names, got {shown(labels)}")
    if not isinstance(labels, Mapping):
        raise problem
    try:
        request.labels.update(labels)
    except (TypeError, ValueError, AttributeError) as error:
        raise problem from error


def check_local(accuracy: bool, series: str) -> None:
    """Checks what a run tells its evaluations, and not the server."""
    check_choice("accuracy", accuracy, (False, True))
    assign_text(v1.EvaluateRequest(), "series", series)
