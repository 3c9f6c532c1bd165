// Loads the contract with proto-loader, and converts tensors to and from typed arrays.
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const contract = protoLoader.loadSync("losswire/v1/loss_service.proto", {
  includeDirs: [path.join(__dirname, "../../proto/protos")],
  longs: String, // exact beyond 2^53, as in JSON
  enums: String,
  defaults: true, // sets counts that are 0, which are left out on the wire
});
const { LossService } = grpc.loadPackageDefinition(contract).losswire.v1;

const DTYPES = new Map([
  [Float32Array, "DTYPE_FLOAT32"],
  [Float64Array, "DTYPE_FLOAT64"],
  [BigInt64Array, "DTYPE_INT64"],
  [Int32Array, "DTYPE_INT32"],
]);

function connect(target = "localhost:50051") {
  const options = { "grpc.max_receive_message_length": -1 }; // gradients may exceed the default of 4 MB
  return new LossService(target, grpc.credentials.createInsecure(), options);
}

// Elements travel row-major and little-endian, like typed arrays on all machines that run Node.js.
function bytes(array) {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

// A tensor. Without an array, its elements come in slabs.
function tensor(Type, shape, array) {
  const data = array && bytes(array);
  return { dtype: DTYPES.get(Type), shape, ...(data && { data }) };
}

// Copies the data, since a typed array must start at a multiple of its element's size.
function floats(data) {
  return new Float32Array(Uint8Array.from(data).buffer);
}

module.exports = { bytes, connect, floats, tensor };
