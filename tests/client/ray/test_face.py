import importlib
import sys

import pytest

import losswire_client.ray


def test_face_is_what_it_was():
    assert losswire_client.ray.__all__ == ["ServerActor", "Servers", "evaluate", "serve"]


def test_failing_import_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # for Python the module is missing then
    monkeypatch.delitem(sys.modules, "ray.data", raising=False)
    monkeypatch.delitem(sys.modules, "losswire_client.ray")
    with pytest.raises(ImportError, match=r"pip install ./proto './client\[ray\]'"):
        importlib.import_module("losswire_client.ray")
