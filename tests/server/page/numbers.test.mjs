// What the page computes, without a browser. `test_numbers.py` runs it.

import assert from "node:assert/strict";
import { test } from "node:test";

const numbers = new URL("../../../server/src/losswire_server/page/static/numbers/", import.meta.url);
const { parse } = await import(new URL("exposition.js", numbers));
const { quantile } = await import(new URL("evaluate.js", numbers));
const { History } = await import(new URL("history.js", numbers));
const { age, format } = await import(new URL("format.js", numbers));

test("samples have names, labels and values", () => {
  const samples = parse(
    '# HELP a b\n# TYPE a counter\na_total{x="1",y="2"} 3\nb -1.5e-3 1700000000\nc NaN\nd{le="+Inf"} +Inf\n',
  );
  assert.deepEqual([...samples.get("a_total").values()], [{ labels: { x: "1", y: "2" }, value: 3 }]);
  assert.equal([...samples.get("b").values()][0].value, -0.0015);
  assert.ok(Number.isNaN([...samples.get("c").values()][0].value));
  assert.equal([...samples.get("d").values()][0].value, Infinity);
  assert.equal(samples.size, 4);
});

test("labels are unescaped, whatever is in them", () => {
  const text = 'a{x="q\\" b\\\\ n\\n } 5 {,=",y="\\\\n"} 7';
  assert.deepEqual([...parse(text).get("a").values()], [{ labels: { x: 'q" b\\ n\n } 5 {,=', y: "\\n" }, value: 7 }]);
});

test("labels named like properties of objects are labels", () => {
  assert.equal([...parse('a{constructor="x"} 1').get("a").values()][0].labels.constructor, "x");
  assert.equal(parse("constructor 1").size, 1);
});

test("quantiles are Prometheus's", () => {
  const cases = [
    [
      0.5,
      [
        [1, 10],
        [2, 20],
        [Infinity, 20],
      ],
      1,
    ],
    [
      0.75,
      [
        [2, 20],
        [1, 10],
        [Infinity, 20],
      ],
      1.5,
    ],
    [
      0.99,
      [
        [1, 10],
        [2, 20],
        [Infinity, 40],
      ],
      2,
    ],
    [
      0.5,
      [
        [-2, 4],
        [2, 4],
        [Infinity, 4],
      ],
      -2,
    ],
    [0.5, [[Infinity, 4]], 0],
  ];
  for (const [q, buckets, expected] of cases) assert.equal(quantile(q, buckets), expected);
  assert.ok(
    Number.isNaN(
      quantile(0.5, [
        [1, 0],
        [Infinity, 0],
      ]),
    ),
  );
  assert.ok(Number.isNaN(quantile(0.5, [])));
});

test("history keeps as many numbers of all labels as there are times", () => {
  const history = new History(10);
  history.add(100, new Map([["a", new Map([["x", 1]])]]));
  history.add(
    102,
    new Map([
      [
        "a",
        new Map([
          ["x", NaN],
          ["y", 5],
        ]),
      ],
    ]),
  );
  history.gap(104);
  assert.deepEqual(history.times, [100, 102, 104]);
  assert.deepEqual(
    [...history.of("a")],
    [
      ["x", [1, null, null]],
      ["y", [null, 5, null]],
    ],
  );
  assert.equal(history.sum("a", "y"), 5);
});

test("history forgets what is old, and labels that have nothing left", () => {
  const history = new History(10);
  history.add(100, new Map([["a", new Map([["x", 1]])]]));
  for (const time of [106, 112]) history.add(time, new Map([["a", new Map([["y", time]])]]));
  assert.deepEqual(history.times, [106, 112]);
  assert.deepEqual([...history.of("a")], [["y", [106, 112]]]);
});

test("history outlives a reload", () => {
  const [stored, history] = [new Map(), new History(900)];
  const storage = { setItem: (key, value) => stored.set(key, value), getItem: (key) => stored.get(key) ?? null };
  new History(900).load(storage, 1);
  history.add(1.7e9, new Map([["a", new Map([["x", 1 / 3]])]]));
  history.save(storage);
  const restored = new History(900);
  restored.load(storage, 1.7e9 + 5);
  assert.deepEqual(restored.times, [1.7e9, 1.7e9 + 5]);
  assert.deepEqual([...restored.of("a")], [["x", [0.333333, null]]]);
});

test("clock that is set back leaves times in order", () => {
  const history = new History(900);
  for (const time of [100, 90, 101]) history.add(time, new Map([["a", new Map([["x", 1]])]]));
  assert.deepEqual(history.times, [100, 100.001, 101]);
});

test("numbers have units", () => {
  const cases = [
    ["per second", 12345, "12.3K/s"],
    ["per second", 0.5, "0.5/s"],
    ["seconds", 0.00123, "1.23 ms"],
    ["seconds", 4.5e-6, "4.5 µs"],
    ["seconds", 0, "0 µs"],
    ["bytes", 1.5e9, "1.5 GB"],
    ["bytes per second", 999, "999 B/s"],
    ["ratio", 0.0123, "1.23%"],
    ["count", 1234, "1,230"],
    ["loss", 1.0986123, "1.0986"],
    ["cores", 1, "1 core"],
    ["loss", NaN, "–"],
    ["loss", undefined, "–"],
    ["count", Infinity, "∞"],
  ];
  for (const [unit, number, text] of cases) assert.equal(format(unit, number), text);
});

test("ages have two units", () => {
  assert.equal(age(59.9), "59 s");
  assert.equal(age(3 * 3600 + 12 * 60 + 5), "3 h 12 min");
  assert.equal(age(2 * 86400 + 5), "2 d 0 h");
  assert.equal(age(0), "0 s");
  assert.equal(age(undefined), "–");
});
