// A row of the table of series.

import { element, setText } from "./dom.js";
import { curveId } from "../numbers/figures.js";
import { format, whole } from "../numbers/format.js";
import { SERIES } from "./layout.js";

const LEFT_OUT = "Left out";

/** The headings of the columns after the series' names. */
export function headings(figures) {
  const mean = figures.byKey.get(SERIES.mean);
  const left = `${figures.byKey.get(SERIES.nonfinite).meaning} ${figures.byKey.get(SERIES.unsummed).meaning}`;
  return [
    heading(mean, mean.title),
    heading(mean, "Since the start"),
    ...SERIES.columns.map(({ figure, curve }) => heading(figures.byKey.get(figure), curve ?? titleOf(figures, figure))),
    element(
      "th",
      { scope: "col", title: left, "data-figure": SERIES.nonfinite },
      LEFT_OUT,
      element("span", { "data-figure": SERIES.unsummed }),
    ),
  ];
}

function heading({ key, meaning }, title) {
  return element("th", { scope: "col", title: meaning, "data-figure": key }, title);
}

function titleOf(figures, key) {
  return figures.byKey.get(key).title;
}

export class Row {
  constructor(key, figures, choose) {
    Object.assign(this, { key, figures });
    const [series, loss] = JSON.parse(key);
    this.swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    this.button = element("button", { type: "button", title: "Shows this series alone" }, this.swatch, series);
    this.button.addEventListener("click", choose);
    const mean = figures.byKey.get(SERIES.mean);
    this.mean = cell(mean.title, "mean");
    this.since = cell("Since the start");
    this.cells = SERIES.columns.map(({ figure, curve }) => cell(curve ?? titleOf(figures, figure), figure));
    this.left = cell(LEFT_OUT, "left-out");
    const name = element(
      "th",
      { scope: "row", role: "rowheader" },
      this.button,
      element("span", { class: "loss" }, loss),
    );
    this.element = element("tr", { role: "row" }, name, this.mean, this.since, ...this.cells, this.left);
  }

  draw(readings, totals, { isChosen, slot }) {
    this.button.setAttribute("aria-pressed", String(isChosen));
    this.swatch.className = slot === undefined ? "swatch" : `swatch line-${slot}`;
    setText(this.mean, this.#format(SERIES.mean, readings.get(SERIES.mean)));
    setText(this.since, this.#format(SERIES.mean, totals.get(SERIES.mean)));
    SERIES.columns.forEach(({ figure, curve }, place) => {
      setText(this.cells[place], this.#format(figure, readings.get(curveId(figure, curve))));
    });
    this.#tellLeftOut(readings, totals);
  }

  #format(figure, numbers) {
    return format(this.figures.byKey.get(figure).unit, numbers?.get(this.key));
  }

  /** Counts since the start, since one row may be enough to look for. */
  #tellLeftOut(readings, totals) {
    const rows = totals.get(SERIES.nonfinite)?.get(this.key) || 0;
    const evaluations = [...(totals.get(SERIES.unsummed) ?? [])].filter(([key, count]) => count && isOf(key, this.key));
    const told = rows ? [`${whole(rows)} ${rows === 1 ? "row" : "rows"} not finite`] : [];
    told.push(...evaluations.map(([key, count]) => `${whole(count)} ${JSON.parse(key).at(-1)}`));
    setText(this.left, told.join(", ") || "0");
    this.element.classList.toggle("has-left-out", told.length > 0);
    this.element.classList.toggle("is-losing", (readings.get(SERIES.nonfinite)?.get(this.key) || 0) > 0);
  }
}

function cell(title, name = "") {
  return element("td", { role: "cell", "data-title": title, class: name });
}

function isOf(key, series) {
  return JSON.stringify(JSON.parse(key).slice(0, 2)) === series;
}
