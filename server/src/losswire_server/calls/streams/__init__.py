"""One request in many messages, one file per concern."""
