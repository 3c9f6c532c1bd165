"""Wrong, slow and greedy peers at the server's socket, beside a caller that must be served all the while."""
