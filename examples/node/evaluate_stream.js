// Evaluates a batch as a stream of slabs, which may be larger than any message: node evaluate_stream.js [TARGET]
"use strict";

const { bytes, connect, floats, tensor } = require("./losswire.js");

const [ROWS, CLASSES, SLAB_ROWS] = [2, 3, 1];
const logits = Float32Array.of(2, 1, 0.1, 0.5, 2.5, 0.3);
const header = {
  spec: { reduction: "REDUCTION_MEAN", crossEntropy: { labelSmoothing: 0.1 } },
  outputs: { gradient: {} },
  input: tensor(Float32Array, [ROWS, CLASSES]), // comes in slabs
  target: tensor(BigInt64Array, [ROWS], BigInt64Array.of(0n, 1n)), // before the slabs, for the gradient of a mean
};

const client = connect(process.argv[2]);
const call = client.evaluateStream({ deadline: Date.now() + 10_000 });
const gradient = new Float32Array(ROWS * CLASSES);
let summary;

call.on("data", (message) => {
  if (message.slab) gradient.set(floats(message.slab.gradient), Number(message.slab.firstRow) * CLASSES);
  else summary = message.summary;
});
call.on("error", (error) => {
  throw error;
});
call.on("end", () => {
  client.close();
  console.log("loss", floats(summary.loss.data)[0]);
  console.log("gradient", ...gradient);
});

async function send() {
  call.write({ header });
  for (let firstRow = 0; firstRow < ROWS; firstRow += SLAB_ROWS) {
    const rowCount = Math.min(SLAB_ROWS, ROWS - firstRow);
    const input = bytes(logits.subarray(firstRow * CLASSES, (firstRow + rowCount) * CLASSES));
    if (!call.write({ slab: { firstRow, rowCount, input } })) await new Promise((drained) => call.once("drain", drained));
  }
  call.end();
}

send();
