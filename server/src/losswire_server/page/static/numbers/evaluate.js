// Computes the expressions of figures from two scrapes, as Prometheus computes them from many.

import { mapped } from "./interval.js";

const TOGETHER = "[]"; // the key of a number without labels

const KINDS = {
  rate: (expression, interval) => interval.rates(expression),
  value: (expression, { after }) => after.folded((left, right) => left + right, expression),
  age: (expression, { after }) => mapped(after.folded(Math.min, expression), (start) => after.time - start),
  latest: ({ metric, of, by }, { after }) => after.latest(metric, of, by),
  quantile: (expression, interval) =>
    mapped(interval.buckets(expression), (buckets) => quantile(expression.q, buckets)),
  ratio: ({ over, under }, interval) => joined(over, under, interval, (left, right) => left / right),
  difference: ({ of, less }, interval) => joined(of, less, interval, (left, right) => left - right),
  exponential: ({ power }, interval) => mapped(evaluate(power, interval), Math.exp),
};

/** An expression's numbers. Nothing has a number of which the server tells nothing. */
export function evaluate(expression, interval) {
  return KINDS[expression.kind](expression, interval);
}

/** Joins the numbers of the same labels. One without labels on the right goes with all on the left. */
function joined(left, right, interval, join) {
  const numbers = new Map();
  const others = evaluate(right, interval);
  for (const [key, number] of evaluate(left, interval)) {
    const other = others.has(TOGETHER) ? others.get(TOGETHER) : others.get(key);
    if (other !== undefined) numbers.set(key, join(number, other));
  }
  return numbers;
}

/** A quantile of observations that count as evenly spread over their bucket. The lowest bucket begins at 0. */
export function quantile(q, buckets) {
  const sorted = [...buckets].sort(([left], [right]) => left - right);
  const rank = q * (sorted.at(-1)?.[1] ?? 0);
  let lower;
  let below = 0;
  for (const [bound, count] of sorted) {
    if (rank > 0 && rank <= count) return between(lower, bound, (rank - below) / (count - below));
    [lower, below] = [bound, count];
  }
  return NaN;
}

function between(lower, upper, part) {
  if (upper === Infinity) return lower ?? 0;
  if (lower === undefined && upper <= 0) return upper;
  return (lower ?? 0) + (upper - (lower ?? 0)) * part;
}
