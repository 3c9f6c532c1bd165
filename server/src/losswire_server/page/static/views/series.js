// The losses: a chart of the mean of each series, and a table of all that is known of them.

import { Chart } from "./chart.js";
import { byId, element, setText } from "./dom.js";
import { SERIES } from "./layout.js";
import { COLOURS, Slots } from "./palette.js";
import { Row, headings } from "./series_row.js";

const QUANTILES = ["loss_quantiles/p10", "loss_quantiles/p90"];

export class Series {
  #rows = new Map();
  #slots = new Slots();
  #chosen = "";
  #latest;

  constructor(figures) {
    this.figures = figures;
    const mean = figures.byKey.get(SERIES.mean);
    setText(byId("losses-meaning"), mean.meaning);
    this.chart = new Chart(byId("losses-plot"), byId("losses-legend"), { unit: mean.unit, height: 280 });
    byId("series-head").append(...headings(figures));
    byId("series-filter").addEventListener("input", () => this.#list());
    byId("series-all").addEventListener("click", () => this.#choose(""));
  }

  draw(history, readings, totals) {
    this.#latest = { history, readings, totals };
    this.#forget();
    this.#drawChart();
    this.#list();
  }

  restyle() {
    this.chart.restyle();
  }

  /** The series that were ever used: those that lose something now, then the busiest of the last minutes. */
  #used() {
    const { history, readings, totals } = this.#latest;
    const of = (from, figure, key) => from.get(figure)?.get(key) || 0;
    const keys = new Set(
      [SERIES.rows, SERIES.mean, SERIES.nonfinite].flatMap((each) => [...(totals.get(each)?.keys() ?? [])]),
    );
    const unsummed = new Set(
      [...(totals.get(SERIES.unsummed) ?? [])].filter(([, count]) => count).map(([key]) => seriesOf(key)),
    );
    const isUsed = (key) => of(totals, SERIES.rows, key) || of(totals, SERIES.nonfinite, key) || unsummed.has(key);
    const ranks = [...keys, ...unsummed].filter(isUsed).map((key) => {
      return [
        key,
        [of(readings, SERIES.nonfinite, key) > 0, history.sum(SERIES.rows, key), of(totals, SERIES.rows, key)],
      ];
    });
    return [...new Map(ranks.sort(([, left], [, right]) => descending(left, right))).keys()];
  }

  /** Forgets series that the server has forgotten, since others come in their place for as long as the page is open. */
  #forget() {
    const used = new Set(this.#used());
    for (const key of this.#rows.keys()) if (!used.has(key)) this.#rows.delete(key);
    if (!used.has(this.#chosen)) this.#chosen = "";
  }

  #drawChart() {
    const { history } = this.#latest;
    const means = history.of(SERIES.mean);
    const known = this.#used().filter((key) => means.get(key)?.some((number) => number !== null));
    const shown = this.#chosen ? known.filter((key) => key === this.#chosen) : known.slice(0, COLOURS);
    const slots = this.#slots.assign(shown);
    const tracks = shown.map((key) => ({
      label: nameOf(key),
      curve: "",
      slot: slots.get(key),
      numbers: means.get(key),
    }));
    this.chart.draw(history.times, this.#chosen ? [...tracks, ...this.#band(tracks)] : tracks);
    byId("losses-nothing").hidden = tracks.length > 0;
    byId("series-all").hidden = !this.#chosen;
    setText(
      byId("losses-more"),
      shown.length < known.length && !this.#chosen ? `The busiest ${shown.length} of ${known.length}` : "",
    );
  }

  /** The area in which eight of ten rows of the chosen series lie. */
  #band([mean]) {
    const numbers = QUANTILES.map((curve) => this.#latest.history.of(curve).get(this.#chosen));
    if (!mean || numbers.some((each) => !each)) return [];
    const [p10, p90] = numbers;
    return [
      { ...mean, label: "p90 of rows", numbers: p90, band: 2 },
      { ...mean, label: "p10 of rows", numbers: p10, band: 1 },
    ];
  }

  #list() {
    if (!this.#latest) return;
    const wanted = byId("series-filter").value.toLowerCase();
    const used = this.#used();
    const shown = used.filter((key) => nameOf(key).toLowerCase().includes(wanted));
    const rows = shown.map((key) => this.#row(key));
    const body = byId("series-rows");
    rows.forEach((row, place) => body.children[place] !== row && body.insertBefore(row, body.children[place] ?? null));
    while (body.children.length > rows.length) body.lastChild.remove();
    setText(byId("series-count"), wanted ? `${shown.length} of ${used.length} series` : `${used.length} series`);
  }

  #row(key) {
    if (!this.#rows.has(key)) this.#rows.set(key, new Row(key, this.figures, () => this.#choose(key)));
    const row = this.#rows.get(key);
    row.draw(this.#latest.readings, this.#latest.totals, { isChosen: key === this.#chosen, slot: this.#slots.of(key) });
    return row.element;
  }

  #choose(key) {
    this.#chosen = key === this.#chosen ? "" : key;
    this.#drawChart();
    this.#list();
  }
}

function seriesOf(key) {
  return JSON.stringify(JSON.parse(key).slice(0, 2));
}

function nameOf(key) {
  return JSON.parse(key).join(" · ");
}

function descending(left, right) {
  const place = left.findIndex((number, index) => number !== right[index]);
  return place < 0 ? 0 : right[place] - left[place];
}
