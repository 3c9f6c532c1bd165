// Reads Prometheus's text format.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = /\\(.)/g;
const NUMBERS = { "+Inf": Infinity, "-Inf": -Infinity, NaN: NaN };

/** The samples in a text: for each name a Map from the labels' text to a sample's labels and value. */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const found = LINE.exec(line);
    if (found) {
      const [, name, labels = "", value] = found;
      if (!samples.has(name)) samples.set(name, new Map());
      samples.get(name).set(labels, { labels: labelsOf(labels), value: numberOf(value) });
    }
  }
  return samples;
}

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) labels[name] = value.replace(ESCAPED, unescaped);
  return labels;
}

function unescaped(_, character) {
  return character === "n" ? "\n" : character;
}

export function numberOf(text) {
  return text in NUMBERS ? NUMBERS[text] : Number(text);
}
