"""What text the store takes: the last check, after those who read callers' messages."""

from losswire.errors import FieldError


def check_entry(key: str, slice_name: str, max_bytes: int) -> None:
    """Raises a FieldError if the key or slice of an entry cannot be kept."""
    if not key:
        raise FieldError("run_key.key", "expected a key, got none")
    check_text("run_key.key", key, max_bytes)
    check_text("run_key.slice", slice_name, max_bytes)


def check_text(field: str, text: str, max_bytes: int | None = None) -> None:
    """Raises a FieldError for text that no database keeps, or that is too long."""
    if "\0" in text:
        raise FieldError(field, "expected text without NUL")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise FieldError(field, "expected text that UTF-8 can write") from None
    if max_bytes is not None and size > max_bytes:
        raise FieldError(field, f"expected at most {max_bytes} bytes, got {size}")
