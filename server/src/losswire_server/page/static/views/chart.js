// One chart: lines or a stack over the last minutes, drawn by uPlot, and a legend of texts.

import { element, setText } from "./dom.js";
import { format } from "../numbers/format.js";
import { colour, dashOf, property } from "./palette.js";

const LEAST_SECONDS = 120; // shown, so that the first lines do not jump
const AXIS = 66;
const CLOCK = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

export class Chart {
  #plot;
  #drawn = "";
  #values = [];
  #times = [];
  #tracks = [];

  constructor(place, legend, { unit, stacked = false, height = 160 }) {
    Object.assign(this, { place, legend, unit, stacked, height });
    place.style.minHeight = `${height}px`; // also before it is seen, so that nothing moves
    new ResizeObserver(() => this.#resize()).observe(place);
  }

  /** Draws tracks: {label, curve, slot, numbers, and for an area between two lines `band`: the other's index}. */
  draw(times, tracks) {
    this.#times = times;
    this.#tracks = tracks;
    const data = [times, ...(this.stacked ? stackedUp(tracks) : tracks.map(({ numbers }) => numbers))];
    const drawn = JSON.stringify(tracks.map(({ label, curve, slot, band }) => [label, curve, slot, band]));
    if (drawn !== this.#drawn) this.#begin(drawn, data);
    else this.#plot?.setData(data);
    this.#tell();
  }

  /** Begins anew, with the colours of another theme. */
  restyle() {
    this.#drawn = "";
  }

  #begin(drawn, data) {
    this.#drawn = drawn;
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#legend();
    if (this.#tracks.length) this.#plot = new uPlot(this.#options(), data, this.place);
  }

  #options() {
    return {
      width: Math.max(1, this.place.clientWidth),
      height: this.height,
      padding: [10, 26, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "losswire" }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { range: () => this.#span() },
        y: { range: this.#range },
      },
      axes: [
        this.#axis({ space: 80, size: 30, values: clock }),
        this.#axis({ size: AXIS, values: (_, at) => at.map(this.#tick) }),
      ],
      series: [{}, ...this.#tracks.map((track) => this.#line(track))],
      bands: this.#bands(),
      hooks: { setCursor: [() => this.#tell()] },
    };
  }

  #span() {
    const last = this.#times.at(-1);
    return [Math.min(this.#times[0], last - LEAST_SECONDS), last];
  }

  /** Losses have a scale of their own; all else begins at 0. */
  #range = (_, least, most) => {
    if (least === null) return [0, 1];
    if (this.unit === "loss") return uPlot.rangeNum(least, most, 0.1, true);
    return [Math.min(0, least), most > 0 ? most * 1.1 : 1];
  };

  #tick = (number) => format(this.unit === "loss" ? "count" : this.unit, number);

  #axis(own) {
    const [text, grid] = [property("--muted"), property("--grid")];
    const font = `12px ${property("--font")}`;
    return { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, ...own };
  }

  #line({ curve, slot, band }) {
    const stroke = colour(slot);
    const points = { show: (plot, _, first, last) => last - first < 2 };
    if (band !== undefined) return { stroke, width: 0.75, points, alpha: 0.8 };
    return { stroke, width: 1.75, dash: dashOf(curve), points, fill: this.stacked ? `${stroke}cc` : undefined };
  }

  #bands() {
    if (this.stacked) return this.#tracks.slice(1).map((_, index) => ({ series: [index + 2, index + 1] }));
    const upper = this.#tracks.findIndex(({ band }) => band !== undefined);
    if (upper < 0) return [];
    const fill = `${colour(this.#tracks[upper].slot)}26`;
    return [{ series: [upper + 1, this.#tracks[upper].band + 1], fill }];
  }

  /** An item for each label, with all its curves. */
  #legend() {
    this.#values = this.#tracks.map(() => element("span", { class: "value" }));
    const items = new Map();
    this.#tracks.forEach((track, index) => {
      items.set(track.label, [...(items.get(track.label) ?? []), [track, this.#values[index]]]);
    });
    this.legend.replaceChildren(...[...items].map(([label, several]) => legendItem(label, several)));
  }

  /** Writes the numbers where the pointer is, or the last ones. */
  #tell() {
    const place = this.#plot?.cursor.idx ?? -1;
    this.#tracks.forEach(({ numbers }, index) => {
      if (this.#values[index]) setText(this.#values[index], format(this.unit, numbers.at(place)));
    });
  }

  #resize() {
    if (this.place.clientWidth) this.#plot?.setSize({ width: this.place.clientWidth, height: this.height });
  }
}

function legendItem(label, parts) {
  const [[track, value]] = parts;
  if (parts.length === 1 && !track.curve) return element("li", {}, swatch(track), name(label), value);
  const curves = parts.map(([each, number]) => element("span", {}, swatch(each), name(each.curve), number));
  return element("li", {}, name(label), ...curves);
}

function swatch({ slot, curve }) {
  return element("span", { class: `swatch line-${slot}${dashOf(curve) ? " dashed" : ""}`, "aria-hidden": "true" });
}

function name(text) {
  return element("span", { class: "name" }, text);
}

function clock(_, times) {
  return times.map((time) => CLOCK.format(time * 1000));
}

/** Each line with all before it added to it. The first one is the lowest. */
function stackedUp(tracks) {
  const sums = [];
  for (const { numbers } of tracks) {
    const below = sums.at(-1);
    sums.push(numbers.map((number, place) => (number === null ? null : number + (below?.[place] ?? 0))));
  }
  return sums;
}
