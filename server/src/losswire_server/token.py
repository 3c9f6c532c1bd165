"""``python -m losswire_server.token NAME`` makes a token, or hashes one: the entry for the file that `tokens` names.

The entry goes to standard output, to be appended to that file. The token is shown once, on standard error, or it is
written to a new file that its owner alone can read.
"""

import argparse
import hashlib
import os
import secrets
import sys
from pathlib import Path

from losswire_server.rpc.security.token_file import NAME, NAME_TOLD

PREFIX = "losswire_"  # by which scanners of secrets can find it
RANDOM_BYTES = 32


def main(args: list[str] | None = None) -> None:
    """Exits with 2 for a wrong argument, 1 if the file is there already."""
    parser = argparse.ArgumentParser(prog="python -m losswire_server.token", description=__doc__.partition("\n")[0])
    parser.add_argument("name", type=_name, help=f"whose token it is: {NAME_TOLD}")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, metavar="FILE", help="write the token to a new file, and do not show it")
    where.add_argument("--stdin", action="store_true", help="hash a token from standard input instead of making one")
    given = parser.parse_args(args)
    token = _given_token(parser) if given.stdin else PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    if given.output:
        _write(given.output, token)
    elif not given.stdin:
        sys.stderr.write(f"The token, shown this once: {token}\n")
    sys.stdout.write(f'\n[[tokens]]\nname = "{given.name}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n')


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected {NAME_TOLD}, got {text!r}")
    return text


def _given_token(parser: argparse.ArgumentParser) -> str:
    token = sys.stdin.read().strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        parser.error("expected a token of printable ASCII characters without spaces on standard input")
    return token


def _write(file: Path, token: str) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        sys.exit(f"{file}: {error.strerror}")
    with os.fdopen(descriptor, "w") as output:
        output.write(f"{token}\n")


if __name__ == "__main__":
    main()
