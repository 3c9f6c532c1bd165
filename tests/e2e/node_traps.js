// Does what docs/contract.md warns of: node node_traps.js TARGET
"use strict";

const grpc = require("../../examples/node/node_modules/@grpc/grpc-js");
const { connect, tensor } = require("../../examples/node/losswire.js");

const client = connect(process.argv[2]);
const withDefaults = new client.constructor(process.argv[2], grpc.credentials.createInsecure());

function request(classes) {
  return {
    spec: { reduction: "REDUCTION_MEAN", crossEntropy: { label_smoothing: 0.9 } },
    input: tensor(Float32Array, [1, classes], new Float32Array(classes).fill(1, 0, 1)),
    target: tensor(BigInt64Array, [1], BigInt64Array.of(0n)),
  };
}

client.evaluate({ ...request(3), gradient: {} }, (_, answer) => {
  console.log("dropped", answer.lossSum.toFixed(4), answer.gradient);
});
withDefaults.evaluate({ ...request(2 ** 20), outputs: { gradient: {} } }, (error) => {
  console.log("refused", error.code, error.metadata.get("grpc-status-details-bin").length);
});
