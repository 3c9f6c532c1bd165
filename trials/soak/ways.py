"""The ways in which a soak's server is served, one after the other, and how callers reach it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import trustme

from losswire_client import TLS

HOST, TOKEN = "localhost", "of-the-soak"
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


class Reach(NamedTuple):
    """How a caller reaches a server.

    Attributes:
        target: Where it is.
        ca: File with the authority of its certificate; empty if it does not encrypt.
        token: That it knows callers by; empty if it needs none.
    """

    target: str
    ca: str = ""
    token: str = ""

    @classmethod
    def of(cls, text: str) -> "Reach":
        """What `text` has written."""
        return cls(*json.loads(text))

    def text(self) -> str:
        return json.dumps(self)

    def arguments(self) -> dict[str, Any]:
        """The first arguments of a client."""
        secured = {"tls": TLS(ca=self.ca), "token": self.token} if self.ca else {}
        return {"target": self.target, **secured}

    def variables(self) -> dict[str, str]:
        """The same for the command."""
        secured = {"LOSSWIRE_TLS_CA": self.ca, "LOSSWIRE_TOKEN": self.token} if self.ca else {}
        return {"LOSSWIRE_TARGET": self.target, **secured}

    def channel(self) -> grpc.Channel:
        """A connection without the SDK."""
        if not self.ca:
            return grpc.insecure_channel(self.target, OPTIONS)
        tls = grpc.ssl_channel_credentials(Path(self.ca).read_bytes())
        token = grpc.access_token_call_credentials(self.token)
        return grpc.secure_channel(self.target, grpc.composite_channel_credentials(tls, token), OPTIONS)


class Way(NamedTuple):
    """A way to serve.

    Attributes:
        name: What it is called.
        settings: Of the server.
        ca: See `Reach`.
        token: See `Reach`.
    """

    name: str
    settings: Mapping[str, Any]
    ca: str = ""
    token: str = ""

    @property
    def processes(self) -> int:
        """How many serve."""
        return int(self.settings.get("processes", 1))

    def reach(self, port: int) -> Reach:
        return Reach(f"{HOST if self.ca else '127.0.0.1'}:{port}", self.ca, self.token)


def ways(folder: Path) -> list[Way]:
    """The ways of a soak: as it comes, and by two processes with TLS and a token, whose files go to a folder."""
    secured = _certificate(folder) | _tokens(folder)
    return [
        Way("plain", {}),
        Way("2 processes, TLS and a token", {**secured, "processes": 2}, str(folder / "ca.pem"), TOKEN),
    ]


def _certificate(folder: Path) -> dict[str, Path]:
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, not_after=datetime.now(UTC) + timedelta(days=30))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "certificate.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    return {"tls_certificate": folder / "certificate.pem", "tls_private_key": folder / "key.pem"}


def _tokens(folder: Path) -> dict[str, Path]:
    digest = sha256(TOKEN.encode()).hexdigest()
    (folder / "tokens.toml").write_text(f'[[tokens]]\nname = "soak"\nsha256 = "{digest}"\n')
    return {"tokens": folder / "tokens.toml"}
