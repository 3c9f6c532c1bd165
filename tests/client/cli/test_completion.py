"""Completion as a shell asks for it: with variables."""

import os
import shutil
import subprocess
import sys

import pytest

from tests import processes

# Typer looks for the shell in the parent process, which is no shell in tests.
ENVIRONMENT = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "losswire_client.cli", *arguments]
    return processes.run(command, capture_output=True, text=True, env=ENVIRONMENT | environment)


def asked(words: str) -> dict[str, str]:
    """The variables with which a shell asks a command to complete these words."""
    position = str(len(words.split(" ")) - 1)
    return {"_LOSSWIRE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("losswire ", ["ping", "eval", "compare", "bench", "top", "runs"]),
        ("losswire be", ["bench"]),
        ("losswire runs f", ["finish"]),
        ("losswire eval --loss nll", ["nll_loss"]),
        ("losswire eval --wire-dtype ", ["float32", "float16", "bfloat16"]),
        ("losswire compare --tail ", ["renormalize", "one-bin", "drop"]),
        ("losswire bench --transport s", ["stream", "shared_memory"]),
        ("losswire ping --token", ["--token", "--token-file"]),
    ],
)
def test_shell_is_offered_what_fits(losswire, words, offered):
    result = losswire(**asked(words))
    assert result.exit_code == 0
    assert result.stdout.split() == offered


def test_process_answers_a_shell():
    done = run(**asked("losswire be"))
    assert (done.returncode, done.stdout.split()) == (0, ["bench"])


def test_script_is_for_the_command():
    done = run("--show-completion", "bash")
    assert done.returncode == 0
    assert "_LOSSWIRE_COMPLETE=complete_bash" in done.stdout
    assert "complete -o default -F _losswire_completion losswire" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion_is_installed_for_bash(tmp_path):
    assert run("--install-completion", "bash", HOME=str(tmp_path)).returncode == 0
    program = ". ~/.bashrc && complete -p losswire"
    shell = processes.run(
        ["bash", "--norc", "-c", program], check=True, capture_output=True, text=True, env={"HOME": str(tmp_path)}
    )
    assert shell.stdout == "complete -o default -F _losswire_completion losswire\n"
