"""The reader of dashboards, with one of its own."""

import pytest

from tests.e2e.stack.dashboards import expressions_of

DASHBOARD = {
    "title": "D",
    "templating": {
        "list": [
            {"name": "instance", "type": "query", "current": {"value": ["$__all"]}},
            {"name": "code", "type": "query", "allValue": "OK|.*"},
            {"name": "window", "type": "interval", "current": {"value": "2m"}},
            {"name": "choice", "type": "custom", "current": {"value": "$__all"}},
        ]
    },
    "panels": [
        {"title": "a", "targets": [{"expr": 'rate(x{instance=~"$instance"}[$__rate_interval])'}, {"expr": ""}]},
        {
            "title": "row",
            "type": "row",
            "panels": [{"title": "b", "targets": [{"expr": 'y{c=~"${code:regex}"}[$window]'}]}],
        },
        {"title": "text"},
    ],
    "rows": [{"panels": [{"title": "c", "targets": [{"expr": 'z{c=~"[[choice]]"}[${__range}]'}]}]}],
}


def test_queries_of_all_panels_have_values():
    assert expressions_of(DASHBOARD) == [
        ("D", "a", 'rate(x{instance=~".+"}[10s])'),
        ("D", "b", 'y{c=~"OK|.*"}[2m]'),
        ("D", "c", 'z{c=~".+"}[1m]'),
    ]


def test_unknown_variable_is_an_error():
    with pytest.raises(KeyError, match="nobody"):
        expressions_of({"title": "D", "panels": [{"targets": [{"expr": "x{a=~'$nobody'}"}]}]})
