"""How to install what is missing: from a clone of the repository, since Losswire is on no package index yet."""

FOLDERS = {"testing": "./proto ./ce_engine ./server"}  # folders of the clone that an extra needs besides the client's


def missing(what: str, extra: str) -> str:
    """Says that something is missing, and which command installs the extra that contains it."""
    return f"{what}: in a clone of Losswire, {command(extra)}"


def command(extra: str) -> str:
    return f"pip install {FOLDERS.get(extra, './proto')} './client[{extra}]'"
