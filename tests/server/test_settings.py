import re

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from losswire_server import Settings
from losswire_server.main import main


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "losswire.toml"
    path.write_text('port = 1\nhost = "file"\nmax_series = 7\n')
    return path


def test_flag_wins_over_variable_and_variable_over_file(config, monkeypatch):
    monkeypatch.setenv("LOSSWIRE_PORT", "2")
    monkeypatch.setenv("LOSSWIRE_HOST", "variable")
    settings = CliApp.run(Settings, ["--config", str(config), "--port", "3"])
    assert (settings.port, settings.host, settings.max_series, settings.metrics_port) == (3, "variable", 7, 9464)


def test_file_may_be_named_by_a_variable(config, monkeypatch):
    monkeypatch.setenv("LOSSWIRE_CONFIG", str(config))
    assert Settings().port == 1


def test_largest_request_must_fit_what_may_be_in_flight():
    with pytest.raises(ValidationError, match="max_inflight_bytes must be at least max_message_bytes"):
        Settings(max_message_bytes=8192, max_inflight_bytes=4096)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "many"], "port: Input should be a valid integer, .*, got 'many'"),
        (["--port", "65536"], "port: Input should be less than or equal to 65535, got '65536'"),
        (["--config", "/nowhere.toml"], "config: .*No such file or directory: '/nowhere.toml'"),
        (["--prot", "1"], "unrecognized arguments: --prot 1"),
    ],
)
def test_wrong_settings_end_with_2_and_say_why(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert_matches(said, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "said"),
    [("prot = 1", "prot: Extra inputs are not permitted, got 1"), ("port =", "config: Invalid value")],
)
def test_wrong_file_ends_with_2_and_says_why(text, said, tmp_path, capsys):
    path = tmp_path / "losswire.toml"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(path)])
    assert ended.value.code == 2
    assert_matches(said, capsys.readouterr().err)


def test_every_setting_is_described(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in printed
        assert field.description


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text
