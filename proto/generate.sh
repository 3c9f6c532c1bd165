#!/usr/bin/env bash
# Generates the Python code of the contract into a folder: proto/src, unless another is given.
# usage: proto/generate.sh BIN_FOLDER_OF_THE_GENERATOR [FOLDER]
set -euo pipefail
PATH="$(realpath -s "$1"):$PATH"
out=$(realpath -s "${2:-$(dirname "$0")/src}")
cd "$(dirname "$0")/protos"
python -m grpc_tools.protoc -I. --python_out="$out" --mypy_out="quiet:$out" losswire/v1/*.proto
python -m grpc_tools.protoc -I. --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" losswire/v1/*_service.proto
