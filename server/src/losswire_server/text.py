"""How text that comes from outside is shown: in one line, and not too long."""

MOST_SHOWN = 200


def one_line(text: str, most: int = MOST_SHOWN) -> str:
    """The text with line breaks and control characters escaped, and cut."""
    if len(text) <= most and text.isprintable():
        return text
    escaped = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:most])
    return escaped if len(text) <= most else f"{escaped}..."
