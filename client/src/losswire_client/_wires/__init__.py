"""The I/O: connections, TLS, tokens, and the calls themselves. Opens into `_transports`."""
