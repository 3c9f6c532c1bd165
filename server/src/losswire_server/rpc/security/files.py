"""Whether a server can use the files of certificates and tokens. Loads no torch, which takes seconds."""

from losswire_server.rpc.security.certificates import Certificates
from losswire_server.rpc.security.token_file import read_entries
from losswire_server.settings import Settings


def check_files(settings: Settings) -> None:
    """Reads the files that the settings name.

    Raises:
        WrongSettingsError: One of them is wrong.
    """
    if settings.has_tls:
        Certificates(settings)
    if settings.tokens is not None:
        read_entries(settings.tokens)
