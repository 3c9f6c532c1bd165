import hashlib
import io
import re
import stat

import pytest

from losswire_server.rpc.security.token_file import read_entries
from losswire_server.token import main
from tests.present import present


def test_token_is_shown_once_and_its_entry_is_right(tmp_path, capsys):
    file = tmp_path / "tokens.toml"
    tokens = []
    for name in ("training", "eval@team"):
        main([name])
        said = capsys.readouterr()
        tokens.append(present(re.fullmatch(r"The token, shown this once: (losswire_[\w-]{43})\n", said.err))[1])
        assert tokens[-1] not in said.out
        with file.open("a") as appended:
            appended.write(said.out)
    assert [(entry.name, entry.sha256) for entry in read_entries(file)] == [
        (name, hashlib.sha256(token.encode()).hexdigest())
        for name, token in zip(("training", "eval@team"), tokens, strict=True)
    ]
    assert len(set(tokens)) == 2


def test_token_may_go_to_a_new_file(tmp_path, capsys):
    file = tmp_path / "token"
    main(["a", "--output", str(file)])
    token, said = file.read_text().strip(), capsys.readouterr()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert hashlib.sha256(token.encode()).hexdigest() in said.out
    assert said.err == ""
    with pytest.raises(SystemExit, match="File exists"):
        main(["a", "--output", str(file)])
    assert file.read_text().strip() == token


def test_given_token_is_hashed(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    main(["a", "--stdin"])
    said = capsys.readouterr()
    assert hashlib.sha256(b"secret").hexdigest() in said.out
    assert "secret" not in said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["a b"], "", "name: expected up to 64 letters"),
        (['a"\nname = "b'], "", "name: expected up to 64 letters"),
        ([], "", "required: name"),
        (["a", "--stdin"], " ", "expected a token of printable ASCII"),
        (["a", "--stdin"], "two words", "expected a token of printable ASCII"),
        (["a", "--stdin", "--output", "x"], "", "not allowed with"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, given, said, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
