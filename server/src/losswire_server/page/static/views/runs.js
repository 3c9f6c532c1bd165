// The table of the latest runs: how far each of them is, and its mean.

import { byId, element, setText } from "./dom.js";
import { curveId, numberIn } from "../numbers/figures.js";
import { format, whole } from "../numbers/format.js";
import { RUNS } from "./layout.js";

const HEADINGS = [
  [RUNS.progress, "Progress"],
  [RUNS.keys, "Keys"],
  [RUNS.rows, "Rows"],
  [RUNS.mean, "Mean"],
  [RUNS.nonfinite, "Not finite"],
  [RUNS.finished, "State"],
];

export class Runs {
  #rows = new Map();

  constructor(figures) {
    this.figures = figures;
    byId("run-head").append(...HEADINGS.map(([figure, title]) => heading(figures.byKey.get(figure), title)));
  }

  draw(readings) {
    const names = [...(readings.get(curveId(RUNS.keys, "counted"))?.keys() ?? [])].map((key) => JSON.parse(key)[0]);
    const rows = names.sort().map((name) => this.#row(name, readings));
    const body = byId("run-rows");
    rows.forEach((row, place) => body.children[place] !== row && body.insertBefore(row, body.children[place] ?? null));
    while (body.children.length > rows.length) body.lastChild.remove();
    for (const name of this.#rows.keys()) if (!names.includes(name)) this.#rows.delete(name);
  }

  #row(name, readings) {
    if (!this.#rows.has(name)) this.#rows.set(name, new Row(name));
    const row = this.#rows.get(name);
    row.draw(readings, (figure, number) => format(this.figures.byKey.get(figure).unit, number));
    return row.element;
  }
}

class Row {
  constructor(name) {
    this.name = name;
    this.bar = element("progress", { max: 1, "aria-label": `Progress of ${name}` });
    this.percent = element("span");
    this.cells = HEADINGS.map(([figure, title]) => element("td", { role: "cell", "data-title": title, class: figure }));
    this.cells[0].append(this.bar, this.percent);
    this.element = element("tr", { role: "row" }, element("th", { scope: "row", role: "rowheader" }, name), ...this.cells);
  }

  draw(readings, formatted) {
    const of = (figure, curve) => numberIn(readings, curveId(figure, curve), this.name);
    const progress = of(RUNS.progress);
    this.bar.hidden = progress === undefined;
    this.bar.value = progress ?? 0;
    setText(this.percent, formatted(RUNS.progress, progress));
    const [keys, expected] = [of(RUNS.keys, "counted"), of(RUNS.keys, "expected")];
    const isFinished = of(RUNS.finished) > 0;
    const broken = of(RUNS.nonfinite) ?? 0;
    const texts = [
      expected === undefined ? whole(keys) : `${whole(keys)} of ${whole(expected)}`,
      whole(of(RUNS.rows) ?? 0),
      formatted(RUNS.mean, of(RUNS.mean)),
      whole(broken),
      isFinished ? "finished" : "open",
    ];
    texts.forEach((text, place) => setText(this.cells[place + 1], text));
    this.element.classList.toggle("is-finished", isFinished);
    this.element.classList.toggle("has-nonfinite", broken > 0);
  }
}

function heading({ key, meaning }, title) {
  return element("th", { scope: "col", title: meaning, "data-figure": key }, title);
}
