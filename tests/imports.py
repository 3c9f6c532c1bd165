"""The imports of a file."""

import ast
from pathlib import Path


def imported_names(source: Path) -> set[str]:
    """Names that are imported anywhere in a file, in its functions too, as in ``package.module.name``."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found
