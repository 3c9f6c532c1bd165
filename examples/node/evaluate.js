// Evaluates a batch with its gradient: node evaluate.js [TARGET]
"use strict";

const { connect, floats, tensor } = require("./losswire.js");

const client = connect(process.argv[2]);
const request = {
  spec: { reduction: "REDUCTION_MEAN", crossEntropy: { labelSmoothing: 0.1 } },
  outputs: { gradient: {} }, // set, though empty
  input: tensor(Float32Array, [2, 3], Float32Array.of(2, 1, 0.1, 0.5, 2.5, 0.3)),
  target: tensor(BigInt64Array, [2], BigInt64Array.of(0n, 1n)),
};

client.evaluate(request, { deadline: Date.now() + 10_000 }, (error, response) => {
  client.close();
  if (error) throw error;
  console.log("loss", floats(response.loss.data)[0]);
  console.log("gradient", ...floats(response.gradient.data));
});
