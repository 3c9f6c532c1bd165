"""Runs the commands of docs/contract.md unchanged, with the generators and languages that this machine has."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.documents import ROOT, fences, need_protoc, root_like, run_console
from tests.present import present
from tests.processes import run

DOCUMENT = Path("docs/contract.md")
GO = Path("/usr/share/gocode/src")
TIMEOUT = 600  # compilers take long on a busy machine
COMMANDS = {
    section: [fence[2] for fence in fences(DOCUMENT, "console") if fence[0] == section]
    for section, _, _ in fences(DOCUMENT, "console")
}
GENERATED = {  # by section: files that its first commands write, and text in them that the contract's options cause
    "Go": {"out/go/src/losswire/v1/loss_service_grpc.pb.go": "package losswirev1"},
    "Java": {
        "out/java/losswire/v1/LossSpec.java": "package losswire.v1;",
        "out/java/losswire/v1/LossServiceGrpc.java": "class LossServiceGrpc",
    },
    "C++": {"out/cpp/losswire/v1/loss_service.grpc.pb.h": "class LossService"},
    "Other languages": {
        "out/csharp/LossSpec.cs": "namespace Losswire.V1",
        "out/php/Losswire/V1/LossSpec.php": "namespace Losswire\\V1;",
        "out/ruby/losswire/v1/loss_spec_pb.rb": "module Losswire",
        "out/objc/losswire/v1/LossSpec.pbobjc.h": "@interface LSWLossSpec",
    },
}
PLUGINS = {  # by section, each with its Debian package
    "Go": {"protoc-gen-go": "protoc-gen-go", "protoc-gen-go-grpc": "protoc-gen-go-grpc"},
    "Java": {"grpc_java_plugin": "protobuf-compiler-grpc-java-plugin"},
    "C++": {"grpc_cpp_plugin": "protobuf-compiler-grpc"},
    "Other languages": {},
}
LOGITS, TARGET = [[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]], [0, 1]  # of every example


def need(present: object, what: str) -> None:
    if not present:
        pytest.skip(f"needs {what}")


def need_generator(section: str) -> None:
    need_protoc()
    for command, package in PLUGINS[section].items():
        need(shutil.which(command), f"{command}: {package} of Debian's")


def need_toolchain(section: str) -> None:
    """Needs Debian's packages, all of one release, since the generated code needs a runtime that fits."""
    if section == "Go":
        need(shutil.which("go"), "go: golang-go of Debian's")
        need((GO / "google.golang.org/grpc").exists(), "golang-google-grpc-dev of Debian's")
        need(
            (GO / "github.com/golang/protobuf/proto/buffer.go").exists(),
            "golang-github-golang-protobuf-1-5-dev, not 1-3",
        )
    if section == "Java":
        need(shutil.which("javac"), "javac: default-jdk-headless of Debian's")
        need(Path("/usr/share/java/grpc-netty.jar").exists(), "grpc-netty: libgrpc-java of Debian's")
    if section == "C++":
        need(shutil.which("g++") and shutil.which("pkg-config"), "g++ and pkg-config")
        found = run(["pkg-config", "--exists", "grpc++"]).returncode == 0
        need(found, "grpc++: libgrpc++-dev of Debian's")


def test_every_language_has_commands():
    assert COMMANDS.keys() >= {*GENERATED, "Node.js", "Try it"}
    assert all(len(COMMANDS[section]) == 2 for section in ("Go", "Java", "C++"))


def test_tools_need_no_files_of_the_contract(server, tmp_path):
    (commands,) = COMMANDS["Try it"]
    printed = run_console(commands, server, tmp_path)
    assert "losswire.v1.LossService/Evaluate" in printed
    answer = json.loads(printed[printed.index("{") :])
    assert (answer["rowCount"], answer["gradient"]["shape"]) == ("1", ["1", "3"])


def test_tools_get_divergences(server, tmp_path):
    (commands,) = COMMANDS["Hidden states and divergences"]
    answer = json.loads(run_console(commands, server, tmp_path))
    assert answer["lossSum"] == pytest.approx(0.0589, abs=1e-4)
    assert (answer["gradient"]["shape"], answer["topClasses"]["shape"]) == (["1", "2"], ["1", "1"])


@pytest.mark.parametrize("section", GENERATED)
def test_generator_takes_the_contract(section, server, tmp_path):
    need_generator(section)
    run_console(COMMANDS[section][0], server, root_like(tmp_path))
    for path, text in GENERATED[section].items():
        assert text in (tmp_path / path).read_text()
    assert not list(tmp_path.glob("out/**/*OuterClass.java"))


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("section", ["Go", "Java", "C++"])
def test_generated_client_gets_the_numbers(section, server, tmp_path):
    need_generator(section)
    need_toolchain(section)
    printed = run_console("".join(COMMANDS[section]), server, root_like(tmp_path), TIMEOUT)
    assert_right(printed)


def need_node() -> None:
    need(shutil.which("node"), "node")
    need((ROOT / "examples/node/node_modules").exists(), "packages: npm ci --prefix examples/node")


def test_node_gets_the_numbers_of_pytorch(server, tmp_path):
    need_node()
    printed = run_console("".join(COMMANDS["Node.js"]), server, root_like(tmp_path))
    unary, stream = re.findall(r"loss .*\ngradient .*\n", printed)
    assert unary == stream
    assert_right(unary)


def test_node_trips_as_documented(target):
    need_node()
    traps = ["node", ROOT / "tests/e2e/node_traps.js", target]
    printed = run(traps, capture_output=True, text=True, check=True).stdout
    plain = F.cross_entropy(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0]))
    assert f"dropped {plain:.4f} null\n" in printed  # neither smoothed nor with a gradient
    assert "refused 8 0\n" in printed  # RESOURCE_EXHAUSTED without details


def assert_right(printed: str) -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    loss = F.cross_entropy(logits, torch.tensor(TARGET), label_smoothing=0.1)
    loss.backward()
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", printed)]
    right = torch.cat([loss.detach()[None], present(logits.grad).flatten()])
    torch.testing.assert_close(torch.tensor(numbers), right, atol=1e-5, rtol=1e-5)
