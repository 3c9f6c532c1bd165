// What two scrapes of a server tell. Numbers are Maps by the labels that they were added up by: by the JSON of a list.

import { numberOf } from "./exposition.js";

const NOTHING = new Map();

/** All samples of a server at a time: `at` in seconds of a monotonic clock, `time` in seconds since 1970. */
export class Scrape {
  constructor(samples, at, time) {
    Object.assign(this, { samples, at, time });
  }

  of(name) {
    return this.samples.get(name) ?? NOTHING;
  }

  /** A metric folded by the values of labels. */
  folded(fold, { metric, by, where }) {
    const numbers = new Map();
    for (const { labels, value } of this.of(metric).values()) {
      if (isWhere(labels, where)) {
        const key = keyOf(labels, by);
        numbers.set(key, numbers.has(key) ? fold(numbers.get(key), value) : value);
      }
    }
    return numbers;
  }

  /** The values of a metric where another one is largest, by the values of labels. */
  latest(metric, of, by) {
    const [others, most] = [this.of(of), this.folded(Math.max, { metric: of, by, where: {} })];
    const numbers = new Map();
    for (const [text, { labels, value }] of this.of(metric)) {
      const key = keyOf(labels, by);
      if (others.has(text) && others.get(text).value === most.get(key))
        numbers.set(key, numbers.has(key) ? Math.max(numbers.get(key), value) : value);
    }
    return numbers;
  }
}

/** The increases of counters between two scrapes. */
export class Interval {
  constructor(before, after, seconds = after.at - before.at) {
    Object.assign(this, { before, after, seconds });
  }

  /** All that the server has counted. As an interval of one second, so that rates are numbers. */
  static sinceStart(after) {
    return new Interval(new Scrape(new Map(), after.at, after.time), after, 1);
  }

  increases({ metric, by, where }) {
    const before = this.before.of(metric);
    const gained = new Map();
    for (const [text, { labels, value }] of this.after.of(metric)) {
      if (isWhere(labels, where)) {
        const key = keyOf(labels, by);
        gained.set(key, (gained.get(key) ?? 0) + increase(before.get(text)?.value ?? 0, value));
      }
    }
    return gained;
  }

  rates(expression) {
    return mapped(this.increases(expression), (gained) => gained / this.seconds);
  }

  /** For each combination of labels, the bounds of a histogram and the increases up to them. */
  buckets({ metric, by, where }) {
    const several = new Map();
    for (const [key, gained] of this.increases({ metric: `${metric}_bucket`, by: [...by, "le"], where })) {
      const values = JSON.parse(key);
      const bound = numberOf(values.pop());
      const owner = JSON.stringify(values);
      if (!several.has(owner)) several.set(owner, []);
      several.get(owner).push([bound, gained]);
    }
    return several;
  }
}

/** A counter that is less than before has started anew, with its server. */
function increase(before, after) {
  return after >= before ? after - before : after;
}

export function mapped(numbers, change) {
  return new Map([...numbers].map(([key, number]) => [key, change(number)]));
}

function keyOf(labels, by) {
  return JSON.stringify(by.map((name) => labels[name] ?? ""));
}

function isWhere(labels, where) {
  return Object.entries(where).every(([name, values]) => values.includes(labels[name] ?? ""));
}
