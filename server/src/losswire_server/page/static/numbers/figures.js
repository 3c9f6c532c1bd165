// The table of figures, as the server has it, and the numbers of all of them.

import { evaluate } from "./evaluate.js";

/** The name of a curve for the history. */
export function curveId(figure, name) {
  return name ? `${figure}/${name}` : figure;
}

/** The labels that an expression keeps. */
export function labelsOf({ by, over, of, power }) {
  return by ?? labelsOf(over ?? of ?? power);
}

export class Figures {
  constructor({ sections }) {
    this.sections = sections;
    this.byKey = new Map(sections.flatMap(({ figures }) => figures).map((figure) => [figure.key, figure]));
  }

  /** The numbers of all curves in an interval: Maps by the names of curves. */
  read(interval) {
    const readings = new Map();
    for (const { key, curves } of this.byKey.values()) {
      for (const { name, expression } of curves) readings.set(curveId(key, name), evaluate(expression, interval));
    }
    return readings;
  }
}

/** A number of readings, for labels if it has some. */
export function numberIn(readings, curve, ...labels) {
  return readings.get(curve)?.get(JSON.stringify(labels));
}

/** The sum over all labels; undefined if there is no number at all. */
export function sumIn(readings, curve) {
  const numbers = [...(readings.get(curve)?.values() ?? [])];
  return numbers.length ? numbers.reduce((sum, number) => sum + number, 0) : undefined;
}
