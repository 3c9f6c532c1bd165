import hmac

import pytest

from losswire_server import Settings
from losswire_server.calls.limits import CallerLimits
from losswire_server.process import rotating
from losswire_server.requests.permission import Permission
from losswire_server.rpc.security.tokens import Tokens
from tests.server.secured import write_tokens


def tokens(folder, **entries) -> Tokens:
    return Tokens(file=write_tokens(folder, **entries)["tokens"], settings=Settings(caller_requests=7))


def test_token_is_found_by_its_hash(tmp_path):
    known = tokens(tmp_path, a="one", b=("two", "share = 0.25\nlosses = ['nll_loss']\nseries = ['b/*']"))
    usual = CallerLimits.of(Settings(caller_requests=7))
    one, two = known.find("one"), known.find("two")
    assert one is not None
    assert (one.name, one.limits, one.permission) == ("a", usual, Permission(caller="a"))
    assert two is not None
    assert (two.name, two.limits, two.permission) == (
        "b",
        usual._replace(share=0.25),
        Permission(("nll_loss",), ("b/*",), caller="b"),
    )


@pytest.mark.parametrize("stranger", ["", "on", "onee", "ONE", "one ", "a"])
def test_other_text_is_nobodys(stranger, tmp_path):
    assert tokens(tmp_path, a="one").find(stranger) is None


def test_hash_is_nobodys_token(tmp_path):
    file = write_tokens(tmp_path, a="one")["tokens"]
    (digest,) = [line.split('"')[1] for line in file.read_text().splitlines() if line.startswith("sha256")]
    assert Tokens(file, Settings()).find(digest) is None


@pytest.mark.parametrize("presented", ["first", "second", "third", "unknown"])
def test_every_token_is_compared(presented, tmp_path, monkeypatch):
    known = tokens(tmp_path, a="first", b="second", c="third")
    compared = []
    compare = hmac.compare_digest

    def noted(known: bytes, presented: bytes) -> bool:
        compared.append(known)
        return compare(known, presented)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    known.find(presented)
    assert len(set(compared)) == 3


def test_file_may_be_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(rotating, "LOOK_SECONDS", 0.0)
    known = tokens(tmp_path, a="old")
    write_tokens(tmp_path, b="new")
    assert known.find("old") is None
    assert known.find("new") is not None
    (tmp_path / "tokens.toml").write_text("")
    assert known.find("new") is not None
