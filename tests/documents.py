"""Documents, and the shell commands in them."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from deploy import debian
from losswire_server import Server
from tests.processes import run

ROOT = Path(__file__).parents[1]
BUF_CURL = """#!/usr/bin/env bash
# grpcurl, which no registry of Python's or Debian's has, in the words of buf, which does the same.
set -euo pipefail
[[ $1 == -plaintext ]] && shift
[[ $1 == -d ]] && data=(--data "$2") && shift 2
curl=(buf curl --http2-prior-knowledge --protocol grpc --reflect-protocol grpc-v1alpha)
[[ $2 == list ]] && exec "${curl[@]}" --list-methods "http://$1"
exec "${curl[@]}" "${data[@]}" "http://$1/$2"
"""


def fences(document: Path, *languages: str) -> list[tuple[str, str, str]]:
    """Section, language and text of each code block."""
    found, section, tokens = [], "", MarkdownIt().parse((ROOT / document).read_text())
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following:
            section = following.content
        if token.type == "fence" and token.info in languages:
            found.append((section, token.info, token.content))
    return found


def run_console(text: str, server: Server, folder: Path, seconds: float = 60) -> str:
    """Runs commands one after the other, and returns their output. This environment's programs take precedence."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    write_command(commands / "grpcurl", BUF_CURL)
    target = f"127.0.0.1:{server.port}"
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "LOSSWIRE_TARGET": target,
        "LOSSWIRE_METRICS_URL": f"http://127.0.0.1:{server.metrics_port}/metrics",
    }
    shell = ["bash", "-euo", "pipefail", "-c", text.replace("localhost:50051", target)]
    ran = run(shell, seconds=seconds, env=environment, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said: str = ran.stdout
    return said


def write_command(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def root_like(folder: Path) -> Path:
    """A folder like the root of the repository, in which commands of the documents may write."""
    for name in ("proto", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def need_protoc() -> None:
    """Skips the test without protoc, or without the files of google/protobuf next to it."""
    protoc = Path(shutil.which("protoc") or "/")
    found = debian.ROOT / "usr" if protoc.parent == debian.BIN else protoc.resolve().parent.parent
    if not (protoc.is_file() and (found / "include/google/protobuf/any.proto").exists()):
        pytest.skip("needs protoc: protobuf-compiler and libprotobuf-dev of Debian's")
