"""Unpacks programs of Debian's for tests and for ``make stack``, without root and without installing anything.

They come with the libraries and fonts that this machine lacks, as apt finds them, into the folder .debian of this
repository; .debian/bin has a command for each that finds all of it. What the machine has already is not fetched.
Nothing here fails: what cannot be had is told, and who needs it skips or says so.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".debian"
ROOT, BIN = FOLDER / "root", FOLDER / "bin"
PROGRAMS = {  # by package: the commands, and where they are in it
    "prometheus": {"prometheus": "usr/bin/prometheus", "promtool": "usr/bin/promtool"},
    "chromium": {"chromium": "usr/lib/chromium/chromium"},  # usr/bin has a script for a desktop
    "protobuf-compiler": {"protoc": "usr/bin/protoc"},
    "protobuf-compiler-grpc": {"grpc_cpp_plugin": "usr/bin/grpc_cpp_plugin"},
    "protobuf-compiler-grpc-java-plugin": {"grpc_java_plugin": "usr/bin/grpc_java_plugin"},
    "protoc-gen-go": {"protoc-gen-go": "usr/bin/protoc-gen-go"},
    "protoc-gen-go-grpc": {"protoc-gen-go-grpc": "usr/bin/protoc-gen-go-grpc"},
    "nghttp2-client": {"h2load": "usr/bin/h2load"},
}
BESIDE = {"protobuf-compiler": ["libprotobuf-dev"]}  # the files of google/protobuf
# Libraries are shown to the one program alone. PulseAudio has one of Chromium's where only its own search path leads.
COMMAND = """#!/bin/sh
debian=$(dirname "$(dirname "$(readlink -f "$0")")")
for folder in "$debian"/root/usr/lib/*-linux-gnu "$debian"/root/usr/lib/*-linux-gnu/pulseaudio \\
    "$debian"/root/lib/*-linux-gnu; do
  LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"
done
export LD_LIBRARY_PATH
test -e /etc/fonts/fonts.conf || export FONTCONFIG_FILE="$debian/fonts.conf"
exec "$debian/root/%s" "$@"
"""
FONTS = f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>{ROOT}/usr/share/fonts</dir><cachedir>{FOLDER}/fonts</cachedir></fontconfig>
"""


def binary(name: str) -> str | None:
    """Where a program is: this machine's own, or an unpacked one."""
    return shutil.which(name, path=on_path(os.environ.get("PATH", os.defpath)))


def on_path(path: str) -> str:
    """A search path that ends with the unpacked programs."""
    return path if str(BIN) in path.split(os.pathsep) else f"{path}{os.pathsep}{BIN}"


def main() -> None:
    """Unpacks what is lacking, and writes the file ready unless the network may have been at fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", nargs="*", default=list(PROGRAMS), help="all of them unless named")
    wanted = [package for package in parser.parse_args().packages if lacks(package)]
    if wanted and not shutil.which("apt-get"):
        print(f"no apt-get, so tests that need them are skipped: {' '.join(wanted)}")
        return
    FOLDER.mkdir(exist_ok=True)
    if wanted and apt("update") is None:
        print(f"no list of Debian's packages to be had, so tests are skipped: {' '.join(wanted)}")
        return
    for package in wanted:
        print(f"  unpacking {package} of Debian's" if unpack(package) else f"not to be had: {package}", flush=True)
    (FOLDER / "fonts.conf").write_text(FONTS)
    (FOLDER / "ready").touch()


def lacks(package: str) -> bool:
    return any(binary(name) is None for name in PROGRAMS[package])


def unpack(package: str) -> bool:
    """Unpacks a package and what this machine lacks of that which it needs. Says whether it could."""
    simulated = apt("install", "--simulate", "--no-install-recommends", package, *BESIDE.get(package, []))
    packages = FOLDER / "packages"
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir()
    named = [f"{name}={version}" for name, version in to_install(simulated)]
    if not named or apt("download", *named, cwd=packages) is None:
        return False
    for file in packages.iterdir():
        subprocess.run(["dpkg-deb", "--extract", file, ROOT], check=True)
        file.unlink()
    BIN.mkdir(exist_ok=True)
    for name, path in PROGRAMS[package].items():
        (BIN / name).write_text(COMMAND % path)
        (BIN / name).chmod(0o755)
    return all((ROOT / path).exists() for path in PROGRAMS[package].values())


def to_install(simulated: str | None) -> list[tuple[str, str]]:
    """Names and versions in what ``apt-get --simulate`` says, as in: Inst name [old] (version origin [arch])."""
    lines = [line.split() for line in (simulated or "").splitlines() if line.startswith("Inst ")]
    return [(words[1], next(word[1:] for word in words if word[0] == "(")) for words in lines]


def apt(*command: str, cwd: Path | None = None) -> str | None:
    """What apt-get says, with lists of its own, so that it needs no root; None if it fails."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
    options = [f"Dir::State::Lists={FOLDER / 'lists'}", f"Dir::Cache={FOLDER / 'cache'}", "APT::Sandbox::User=root"]
    options += ["Acquire::http::Timeout=30", "Debug::NoLocking=1"]
    words = [word for option in options for word in ("-o", option)]
    done = subprocess.run(["apt-get", "--quiet=2", *words, *command], cwd=cwd, stdout=subprocess.PIPE, text=True)
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    main()
