"""Files of servers that encrypt, and know their callers."""

import hashlib
from pathlib import Path
from typing import Any

import trustme

HOST = "localhost"


def write_certificate(folder: Path, authority: trustme.CA, *names: str, **options: Any) -> dict[str, Path]:
    """Writes a server's certificate and its key; returns the settings that name them. Files are replaced as a whole."""
    issued = authority.issue_cert(*(names or (HOST,)), **options)
    files = {"tls_certificate": folder / "server.crt", "tls_private_key": folder / "server.key"}
    replace(files["tls_certificate"], b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    replace(files["tls_private_key"], issued.private_key_pem.bytes())
    return files


def write_client_ca(folder: Path, authority: trustme.CA) -> dict[str, Path]:
    """Writes who vouches for callers; returns the setting that names it."""
    replace(folder / "client-ca.crt", authority.cert_pem.bytes())
    return {"tls_client_ca": folder / "client-ca.crt"}


def write_tokens(folder: Path, **entries: Any) -> dict[str, Path]:
    """Writes a token for each name: the token itself, or the token and what it permits. Returns the setting."""
    text = ""
    for name, given in entries.items():
        token, *permits = given if isinstance(given, tuple) else (given,)
        text += entry(name, token, *permits)
    replace(folder / "tokens.toml", text.encode())
    return {"tokens": folder / "tokens.toml"}


def entry(name: str, token: str, permits: str = "") -> str:
    """An entry of the file of tokens."""
    return f'[[tokens]]\nname = "{name}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n{permits}\n'


def replace(file: Path, content: bytes) -> None:
    """As programs do that rotate files: a new file takes the old one's name."""
    fresh = file.with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.replace(file)
