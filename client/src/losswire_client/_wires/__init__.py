"""The I/O: connections, TLS, tokens, and the calls themselves. Imports `_transports`."""
