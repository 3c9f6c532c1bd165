import hashlib

import pytest

from losswire_server.rpc.security.token_file import read_entries
from losswire_server.settings.reading import WrongSettingsError
from tests.server.secured import entry

HASH = hashlib.sha256(b"secret").hexdigest()


def test_entry_has_limits_and_permissions(tmp_path):
    permits = """
share = 0.25
requests = 8
streams = 2
leases = 1
requests_per_second = 50
bytes_per_second = 1e6
losses = ["cross_entropy"]
series = ["team/*"]
runs = ["team/*", "shared"]
"""
    file = tmp_path / "tokens.toml"
    file.write_text(entry("a", "1", permits) + entry("a", "2", permits) + entry("b", "3"))
    one, other, plain = read_entries(file)
    assert (one.name, other.name, plain.name) == ("a", "a", "b")
    assert one.own_limits == {
        "share": 0.25,
        "requests": 8,
        "streams": 2,
        "leases": 1,
        "requests_per_second": 50,
        "bytes_per_second": 1e6,
    }
    assert (one.losses, one.series, one.runs) == (("cross_entropy",), ("team/*",), ("team/*", "shared"))
    assert (plain.own_limits, plain.losses, plain.series, plain.runs) == ({}, None, None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "tokens: Field required"),
        ("tokens = []", "tokens: List should have at least 1 item"),
        ("[[tokens]]\nname = 'a'", "tokens: 0.sha256: Field required"),
        (f"[[tokens]]\nsha256 = '{HASH}'", "tokens: 0.name: Field required"),
        ("[[tokens]]\nname = 'a'\nsha256 = 'secret'", "tokens: 0.sha256: String should match pattern"),
        (f"[[tokens]]\nname = 'a'\nsha256 = '{HASH}'\ntoken = 'secret'", "tokens: 0.token: Extra inputs"),
        (f"token = 'secret'\n[[tokens]]\nname = 'a'\nsha256 = '{HASH}'", "tokens: token: Extra inputs"),
        (f"[[tokens]]\nname = 'a secret'\nsha256 = '{HASH}'", "tokens: 0.name: expected up to 64 letters"),
        (entry("a", "1", "share = 0"), "tokens: 0.share: Input should be greater than 0, got 0"),
        (entry("a", "1", "share = true"), "tokens: 0.share: expected a number, got True"),
        (entry("a", "1", "share = nan"), "tokens: 0.share: .*, got nan"),
        (entry("a", "1", "requests = 0"), "tokens: 0.requests: Input should be greater than or equal to 1, got 0"),
        (entry("a", "1", "bytes_per_second = -1"), "tokens: 0.bytes_per_second: .*, got -1"),
        (entry("a", "1", "losses = ['mse']"), "tokens: 0.losses: expected some of cross_entropy, "),
        (entry("a", "1", "losses = 'nll_loss'"), "tokens: 0.losses: Input should be a valid tuple"),
        (entry("a", "1", "runs = 'team/*'"), "tokens: 0.runs: Input should be a valid tuple"),
        (entry("a", "1") + entry("b", "1"), "tokens: expected each hash once, got that of b again"),
        (entry("a", "1") + entry("a", "2", "requests = 5"), "tokens: expected the tokens of a to permit the same"),
        ("[[tokens]", "tokens: expected a TOML file, got '.*': .*line 1"),
        (b"\xff", "tokens: expected a TOML file, got '.*': it is no UTF-8"),
        (None, "tokens: expected a TOML file, got '.*': No such file"),
    ],
)
def test_wrong_file_is_refused_without_its_secrets(text, said, tmp_path):
    file = tmp_path / "tokens.toml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WrongSettingsError, match=f"^{said}") as refused:
        read_entries(file)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
