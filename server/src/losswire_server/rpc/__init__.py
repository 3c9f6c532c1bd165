"""gRPC: one method an RPC, errors to statuses, health. May import the room `calls`."""
