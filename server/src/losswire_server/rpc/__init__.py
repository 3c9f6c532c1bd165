"""gRPC: one method an RPC, errors to statuses, health. Opens into `calls`."""
