"""How an evaluation travels: in one message, as a stream of slabs, in shared memory. Imports `_request`."""
