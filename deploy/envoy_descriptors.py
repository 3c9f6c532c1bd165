"""Writes the contract for Envoy's transcoder of JSON, with the types of the details that errors have: ``make proto``.

Without these types Envoy answers errors with an empty body, since it cannot write details that it does not know.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

from losswire.v1 import head_service_pb2, loss_service_pb2, run_service_pb2

FILE = Path(__file__).parent / "envoy/losswire.binpb"


def main() -> None:
    """Writes the file that deploy/envoy/envoy-tls.yaml names."""
    FILE.write_bytes(descriptors().SerializeToString(deterministic=True))


def descriptors() -> FileDescriptorSet:
    """The contract and the details of errors, each file after those that it imports."""
    found: dict[str, Any] = {}
    for module in (loss_service_pb2, run_service_pb2, head_service_pb2, status_pb2, error_details_pb2):
        found |= {file.name: file for file in _with_imports(module.DESCRIPTOR)}
    return FileDescriptorSet(file=[FileDescriptorProto.FromString(file.serialized_pb) for file in found.values()])


def _with_imports(file: Any) -> Iterator[Any]:
    for imported in file.dependencies:
        yield from _with_imports(imported)
    yield file


if __name__ == "__main__":
    main()
