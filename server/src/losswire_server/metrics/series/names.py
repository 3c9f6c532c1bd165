"""Names of series that callers do not choose."""

DEFAULT_SERIES, OTHER_SERIES = "default", "other"
