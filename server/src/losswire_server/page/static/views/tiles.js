// The key numbers, each with its course over the last minutes.

import { element, setText } from "./dom.js";
import { curveId, numberIn, sumIn } from "../numbers/figures.js";
import { format } from "../numbers/format.js";
import { TILES } from "./layout.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 28];
const POINTS = 90;
const NUMBER = /^([^\s/%]*)(.*)$/; // and its unit

export class Tiles {
  constructor(place, figures) {
    this.tiles = TILES.map((tile) => new Tile(place, tile, figures.byKey.get(tile.figure)));
  }

  draw(history, readings, totals) {
    for (const tile of this.tiles) tile.draw(history, readings, totals);
  }
}

class Tile {
  #numbers = [];

  constructor(place, { curve, busiest, limit }, figure) {
    Object.assign(this, { figure, curve, busiest, limit });
    this.digits = element("span");
    this.unit = element("small");
    this.value = element("dd", { class: "number" }, this.digits, this.unit);
    this.note = element("dd", { class: "note" });
    this.meter = element("meter", { min: 0, max: 1, high: 0.8, optimum: 0, hidden: "", "aria-label": figure.title });
    this.line = document.createElementNS(SVG, "polyline");
    const title = element("dt", { title: figure.meaning }, figure.title);
    const below = limit ? this.meter : this.#spark();
    place.append(
      element(
        "div",
        { class: "tile", "data-figure": figure.key },
        title,
        this.value,
        this.note,
        element("dd", {}, below),
      ),
    );
  }

  draw(_, readings, totals) {
    const { number, note } = this.#now(readings, totals);
    const [, digits, unit] = NUMBER.exec(format(this.figure.unit, number));
    setText(this.digits, digits);
    setText(this.unit, unit);
    setText(this.note, note);
    if (this.limit) this.#fillMeter(readings, number);
    else this.#drawSpark(number);
  }

  /** The number, and what is said below it. */
  #now(readings, totals) {
    if (this.limit) return { number: this.#number(readings), note: this.#limitNote(readings) };
    if (this.busiest) return this.#ofBusiest(readings);
    if (this.figure.curves.length > 1) return this.#severalCurves(readings);
    const total = sumIn(totals, this.figure.key);
    const isTold = this.figure.unit === "per second" && total !== undefined;
    return { number: this.#number(readings), note: isTold ? `${format("count", total)} since the start` : "" };
  }

  #number(readings) {
    return sumIn(readings, curveId(this.figure.key, this.curve));
  }

  #limitNote(readings) {
    const limit = numberIn(readings, curveId(this.figure.key, this.limit));
    return limit === undefined ? "" : `of ${format(this.figure.unit, limit)}`;
  }

  #ofBusiest(readings) {
    const [key] = [...(readings.get(this.busiest) ?? [])].reduce(
      (most, next) => (next[1] > most[1] ? next : most),
      ["", 0],
    );
    const name = key && JSON.parse(key).join(" ");
    const number = readings.get(curveId(this.figure.key, this.curve))?.get(key);
    return { number, note: name ? `${this.curve} of ${name}` : this.curve };
  }

  #severalCurves(readings) {
    const sums = this.figure.curves.map(({ name }) => [name, sumIn(readings, curveId(this.figure.key, name))]);
    const told = sums.filter(([, number]) => number !== undefined);
    const number = told.length ? told.reduce((sum, [, part]) => sum + part, 0) : undefined;
    return { number, note: told.map(([name, part]) => `${format(this.figure.unit, part)} ${name}`).join(", ") };
  }

  #fillMeter(readings, number) {
    const limit = numberIn(readings, curveId(this.figure.key, this.limit));
    this.meter.hidden = !limit;
    this.meter.value = limit ? number / limit : 0;
  }

  #spark() {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(this.line);
    return svg;
  }

  #drawSpark(number) {
    if (!Number.isFinite(number)) return;
    this.#numbers = [...this.#numbers, number].slice(-POINTS);
    const most = Math.max(...this.#numbers) || 1;
    const first = POINTS - this.#numbers.length;
    const points = this.#numbers.map((value, place) => {
      return `${(((first + place) / (POINTS - 1)) * WIDTH).toFixed(1)},${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`;
    });
    this.line.setAttribute("points", points.join(" "));
  }
}
