import re
import sys
from typing import get_args

import numpy as np
import pytest
from typer import BadParameter

import losswire_client
from losswire import v1
from losswire_client import Client, InvalidArgumentError
from losswire_client.cli import _failures
from losswire_client.cli._failures import CODES, CommandError, ExitCode, exit_code, line
from losswire_client.cli.bench import Dtype, Transport
from losswire_client.cli.bench import Loss as BenchLoss
from losswire_client.cli.eval import WireDtype
from losswire_client.cli.evaluation import Loss
from tests.processes import run

INSTALL = "in a clone of Losswire, pip install ./proto './client[cli]'"
HEAVY = {"matplotlib", "pyarrow", "safetensors", "prometheus_client", "torch"}


def loaded_by(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_help_lists_commands_and_exit_codes(losswire):
    result = losswire("--help")
    assert result.exit_code == 0
    for words in ("ping", "eval", "compare", "bench", "top", "runs", "Exit codes: 0 done; 1", "130 interrupted"):
        assert words in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", ["ping", "eval", "compare", "bench", "top"])
def test_help_describes_every_option(losswire, command):
    result = losswire(command, "--help", COLUMNS="200", TERMINAL_WIDTH="200")
    assert result.exit_code == 0
    options = [text for text in result.stdout.splitlines() if text.startswith("│ --")]
    assert options
    assert all(len(text.strip("│ ").split("  ")) > 1 for text in options)
    assert "TODO" not in result.stdout


def test_without_a_command_the_help_is_shown(losswire):
    result = losswire()
    assert result.exit_code == 2
    assert "Usage: losswire" in result.stdout


def test_version_is_the_package_s(losswire):
    assert losswire("--version").stdout == f"losswire {losswire_client.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ping", "--count", "few"], "'--count'"),
        (["ping", "--count", "0"], "'--count'"),
        (["pong"], "No such command 'pong'. Did you mean 'ping'?"),
        (["eval"], "Missing argument"),
        (["eval", "nowhere.npz"], "'nowhere.npz' does not exist"),
        (["bench", "--shape", "32"], "expected ROWSxCLASSES, as in 256x32000, got 32"),
        (["bench", "--transport", "pigeon"], "'pigeon' is not one of 'auto', 'unary', 'stream', 'shared_memory'"),
    ],
)
def test_wrong_usage_is_told_in_a_line(losswire, arguments, words):
    result = losswire(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("losswire: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_every_error_has_an_exit_code():
    for name in losswire_client.__all__:
        kind = getattr(losswire_client, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            expected = ExitCode.FAILED
            if issubclass(kind, ConnectionError | TimeoutError):
                expected = ExitCode.UNREACHABLE
            assert exit_code(kind("why")) is expected


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CommandError("two\nlines"), ExitCode.FAILED, "two lines"),
        (CommandError("away", ExitCode.UNREACHABLE), ExitCode.UNREACHABLE, "away"),
        (BadParameter("no", param_hint="--count"), ExitCode.USAGE, "Invalid value for --count: no"),
        (ModuleNotFoundError(name="rich"), ExitCode.USAGE, f"rich is not installed: {INSTALL}"),
        (PermissionError(13, "Permission denied", "x.svg"), ExitCode.FAILED, "[Errno 13] Permission denied: 'x.svg'"),
    ],
)
def test_error_is_a_line_and_a_code(error, code, words):
    assert (exit_code(error), line(error)) == (code, words)


def test_fault_of_our_own_is_not_hidden():
    with pytest.raises(ZeroDivisionError), _failures.told_in_a_line():
        raise ZeroDivisionError
    assert ZeroDivisionError not in CODES


def test_choices_are_those_of_the_sdk():
    with pytest.raises(InvalidArgumentError) as raised:
        Client(transport="pigeon")
    assert tuple(re.findall(r"'(\w+)'", str(raised.value))) == (*get_args(Transport), "pigeon")
    with pytest.raises(InvalidArgumentError) as raised:
        Client("localhost:1").cross_entropy(np.zeros((1, 2), complex), [0])
    assert f"expected one of the dtypes {', '.join(get_args(Dtype))}, got complex128" in str(raised.value)
    assert set(get_args(WireDtype)) < set(get_args(Dtype))
    losses = [field.name for field in v1.LossSpec.DESCRIPTOR.oneofs_by_name["loss"].fields]
    assert {*Loss, "kl_divergence"} == {*get_args(BenchLoss)} == {*losses}  # which losswire compare evaluates


def test_sdk_loads_no_command_line():
    assert not loaded_by("import losswire_client") & (HEAVY | {"typer", "rich"})


def test_heavy_imports_wait_for_their_use():
    assert not loaded_by("import losswire_client.cli._app") & HEAVY


def test_missing_extra_says_what_to_install():
    program = "import sys; sys.modules['typer'] = None; from losswire_client.cli import main; main()"
    done = run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"losswire: typer is not installed: {INSTALL}\n"


def test_missing_library_is_named(losswire, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = losswire("bench", "--plot", "out.svg")
    assert result.exit_code == 2
    assert result.stderr == f"losswire: matplotlib is not installed: {INSTALL}\n"
