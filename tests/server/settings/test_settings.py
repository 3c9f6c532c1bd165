import re

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from losswire.runs import MOST_KEY_BYTES
from losswire_server import Settings, __version__
from losswire_server.main import main
from losswire_server.requests.check import MAX_SUMMED_CLASSES
from losswire_server.settings import batching
from losswire_server.settings.reading import mistyped_variables

KIB, MIB = 2**10, 2**20


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "losswire.toml"
    path.write_text('port = 1\nhost = "file"\nmax_series = 7\n')
    return path


def test_flag_wins_over_variable_over_file(config, monkeypatch):
    monkeypatch.setenv("LOSSWIRE_PORT", "2")
    monkeypatch.setenv("LOSSWIRE_HOST", "variable")
    settings = CliApp.run(Settings, ["--config", str(config), "--port", "3"])
    assert (settings.port, settings.host, settings.max_series, settings.metrics_port) == (3, "variable", 7, 9464)


def test_file_may_be_named_by_a_variable(config, monkeypatch):
    monkeypatch.setenv("LOSSWIRE_CONFIG", str(config))
    assert Settings().port == 1


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (MIB, 256 * KIB),
        (33 * MIB, 264 * KIB),
        (64 * MIB, 512 * KIB),
        (256 * MIB, 2 * MIB),
        (512 * MIB, 4 * MIB),
        (None, 4 * MIB),
    ],
)
def test_less_is_read_ahead_within_a_small_budget(budget, expected):
    settings = {} if budget is None else {"max_message_bytes": 4096, "max_inflight_bytes": budget}
    assert Settings(**settings).lookahead_bytes == expected


def test_largest_request_must_fit_in_flight():
    with pytest.raises(ValidationError, match="must be at least 3 times max_message_bytes, 24576"):
        Settings(max_message_bytes=8192, max_inflight_bytes=24576)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "many"], "port: Input should be a valid integer, .*, got 'many'"),
        (["--port", "65536"], "port: Input should be less than or equal to 65535, got '65536'"),
        (["--port", ""], "port: Input should be a valid integer, .*, got ''"),
        (["--port"], "argument --port: expected one argument"),
        (["--grace-seconds", "-1"], "grace_seconds: Input should be greater than or equal to 0, got '-1'"),
        (["--host", "--prt"], "argument --host: expected one argument"),
        (["--port=80", "--metrics-port=80"], "metrics_port must differ from port: got 80 for both"),
        (
            ["--config", "/nowhere.toml"],
            "config: expected a TOML file, got .*/nowhere.toml.*: No such file or directory",
        ),
        (["--config", "/dev/zero"], "config: expected a TOML file, got .*/dev/zero.*: it has more than 1048576 bytes"),
        (["--config", "/"], "config: expected a TOML file, got .*: Is a directory"),
        (["--prt", "1"], r"unknown flag --prt; did you mean --port\?"),
        (["--prt=1"], r"unknown flag --prt; did you mean --port\?"),
        (["--frobnicate"], "unknown flag --frobnicate$"),
        (["50051"], "unrecognized arguments: 50051"),
        (["--host="], "host: String should have at least 1 character, got ''"),
        (["--host=999.1.1.1"], "host: expected an address or a name of this machine, got '999.1.1.1'"),
        (
            ["--port=0", "--metrics-host=999.1.1.1"],
            "metrics_host: expected an address or a name of this machine, got '999.1.1.1'",
        ),
        (["--host=203.0.113.1"], "host: expected an address or a name of this machine, got '203.0.113.1'"),
        (["--torch-threads=100000"], "torch_threads: expected at most .* of this machine, got '100000'"),
        (["--engine-workers=1000000"], "engine_workers: expected at most .* of this machine, got '1000000'"),
        (
            ["--engine-workers=16", "--torch-threads=16"],
            "engine_workers times torch_threads must be at most .* 16 and 16",
        ),
        (
            ["--max-inflight-bytes=1000000000000000"],
            "max_inflight_bytes: expected at most .*, the memory of this machine",
        ),
        (
            ["--max-message-bytes=1048576", "--max-inflight-bytes=1500000"],
            "at least three slabs, 1572864, .*: got 1500000",
        ),
        (["--device=tpu"], "device: String should match pattern .*, got 'tpu'"),
        (
            ["--port=0", "--metrics-port=0", "--device=cuda:99"],
            "device: expected one that PyTorch can use, got cuda:99",
        ),
        (["--max-batch-rows=0"], "max_batch_rows: Input should be greater than or equal to 1, got '0'"),
        (["--max-queue-delay-us=2000000"], "max_queue_delay_us: Input should be less than or equal to 1000000"),
        (["--max-queue-rows=0"], "max_queue_rows: Input should be greater than or equal to 1, got '0'"),
        (["--log-level=loud"], "log_level: Input should be 'debug', .*, got 'loud'"),
        (["--log-level=loud\nlosswire-server: all is well"], "got 'loud.nlosswire-server: all is well'"),
        (
            ["--port=0", "--metrics-port=0", "--host=0.0.0.0"],
            "host: expected TLS and known callers where other machines can call, got '0.0.0.0' without",
        ),
        (["--port=0", "--metrics-host=8.8.8.8"], "metrics_host: expected an address or a name of this machine"),
        (["--insecure=maybe"], "argument --insecure/--no-insecure: ignored explicit argument 'maybe'"),
        (["--insecur"], r"unknown flag --insecur; did you mean --insecure\?"),
        (["--no-metric"], r"unknown flag --no-metric; did you mean --no-metrics\?"),
        (["--reflection=yes"], "reflection: Input should be 'auto', 'on' or 'off', got 'yes'"),
        (["--tls-certificate=c"], "tls_private_key: expected a file, since tls_certificate is given"),
        (["--tls-private-key=k"], "tls_certificate: expected a file, since tls_private_key is given"),
        (["--tls-client-ca=c"], "tls_certificate: expected a file, since tls_client_ca is given"),
        (
            ["--port=0", "--metrics-port=0", "--tls-certificate=no/such", "--tls-private-key=k"],
            "tls_certificate: expected a file that can be read, got 'no/such': No such file",
        ),
        (["--port=0", "--metrics-port=0", "--tokens=no/such"], "tokens: expected a TOML file, got 'no/such': No such"),
        ([f"--port={'9' * 5000}"], r"port: .*, got '9{100,250}\.\.\.$"),
    ],
)
def test_wrong_settings_end_with_2(arguments, said, capfd, monkeypatch):
    monkeypatch.setattr(batching, "MOST_THREADS", 32)  # as on a machine of two cores
    assert_refused(arguments, said, capfd)


TEXTS = {"config", "device", "host", "metrics_host", "log_level", "log_format", "reflection", "runs", "heads"}
TEXTS |= {"tls_certificate", "tls_private_key", "tls_client_ca", "tokens"}
FLAGS = {"insecure", "metrics", "tracing", "allow_head_registration"}
NUMBERS = [name for name in Settings.model_fields if name not in TEXTS | FLAGS]


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "-inf", "1e300", str(2**63), "true", "", True, float("inf")])
@pytest.mark.parametrize("name", NUMBERS)
def test_absurd_number_is_refused_by_name(name, value):
    with pytest.raises(ValidationError) as refused:
        Settings(**{name: value})
    assert [problem["loc"] for problem in refused.value.errors()] == [(name,)]


def test_each_wrong_setting_has_a_line(capfd):
    with pytest.raises(SystemExit):
        main(["--port=-1", "--max-series=0"])
    assert [line.split(":")[1].strip() for line in capfd.readouterr().err.splitlines()] == ["port", "max_series"]


def test_flag_tells_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"losswire-server {__version__}\n"


def test_misspelt_variables_are_told(monkeypatch):
    for name in ("PRT", "MAX_SERIE", "METRICS_URL", "TARGET", "TIMEOUT", "TRANSPORT", "TOKEN", "TOKEN_FILE"):
        monkeypatch.setenv(f"LOSSWIRE_{name}", "1")
    for name in ("TLS", "TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_SERVER_NAME"):
        monkeypatch.setenv(f"LOSSWIRE_{name}", "1")
    assert mistyped_variables() == {
        "LOSSWIRE_PRT": "LOSSWIRE_PORT",
        "LOSSWIRE_MAX_SERIE": "LOSSWIRE_MAX_SERIES",
    }


def test_too_few_open_files_are_refused(monkeypatch, capfd):
    monkeypatch.setattr("resource.getrlimit", lambda _: (20, 20))
    assert_refused([], r"open files: expected a limit \(ulimit -n\) of at least \d+, got 20", capfd)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"prt = 1", r"unknown setting prt; did you mean port\?"),
        (b"frobnicate = 1", "unknown setting frobnicate$"),
        (b"[server]\nport = 1", "unknown setting server"),
        (b"port =", "config: expected a TOML file, .*: Invalid value"),
        (b"\xff\x00", "config: expected a TOML file, .*: 'utf-8' codec"),
        (b"port = true", "port: expected a number, got True"),
        (b"drain_seconds = false", "drain_seconds: expected a number, got False"),
        (b"port = [1]", r"port: Input should be a valid integer, got \[1\]"),
        (b"host = 5", "host: Input should be a valid string, got 5"),
        (b'host = "a\\u0000b"', "host: expected an address or a name of this machine"),
        (b"grace_seconds = inf", "grace_seconds: .*, got inf"),
        (b'config = "other.toml"', "config: expected no other file to be named"),
    ],
)
def test_wrong_file_ends_with_2_and_says_why(text, said, tmp_path, capfd):
    path = tmp_path / "losswire.toml"
    path.write_bytes(text)
    assert_refused(["--config", str(path)], said, capfd)


def test_every_setting_is_described(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in printed
        assert field.description


def test_password_of_a_database_is_not_shown():
    settings = Settings(runs="postgresql://user:secret@host/database")
    assert "secret" not in repr(settings) + str(settings)


def assert_refused(arguments, said, capfd):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capfd.readouterr()
    assert ended.value.code == 2
    assert printed.err.count("\n") == 1, printed.err
    assert re.search(said, printed.err), printed.err
    assert not printed.out


def test_no_longer_keys_are_promised_than_are_taken():
    assert Settings(max_key_bytes=MOST_KEY_BYTES).max_key_bytes == 512
    with pytest.raises(ValueError, match="max_key_bytes"):
        Settings(max_key_bytes=MOST_KEY_BYTES + 1)


def test_no_more_classes_are_promised_than_are_added_up():
    assert Settings(max_run_classes=MAX_SUMMED_CLASSES).max_run_classes == MAX_SUMMED_CLASSES
    with pytest.raises(ValueError, match="max_run_classes"):
        Settings(max_run_classes=MAX_SUMMED_CLASSES + 1)
