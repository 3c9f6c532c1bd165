"""Messages on their way: what has come of them, which of them are taken in, and callers that take too long."""
