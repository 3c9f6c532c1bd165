// The sections of charts: a chart for each figure that is not shown elsewhere.

import { Chart } from "./chart.js";
import { byId, element, setText } from "./dom.js";
import { curveId, labelsOf, numberIn } from "../numbers/figures.js";
import { format } from "../numbers/format.js";
import { CHARTS, chartSections } from "./layout.js";
import { COLOURS, sharedSlot } from "./palette.js";

export class Sections {
  constructor(place, figures) {
    this.sections = chartSections(figures.sections).map(([title, shown]) => new Section(place, title, shown));
  }

  draw(history, readings) {
    for (const section of this.sections) section.draw(history, readings);
  }

  /** Draws what is out of sight too: paper has all of it. */
  drawAll() {
    for (const { panels } of this.sections) panels.forEach((panel) => panel.drawUnseen());
  }

  restyle() {
    for (const { panels } of this.sections) panels.forEach((panel) => panel.chart.restyle());
  }
}

class Section {
  constructor(place, title, figures) {
    const id = `section-${title.toLowerCase().replaceAll(" ", "-")}`;
    const grid = element("div", { class: "charts" });
    const begun = byId(id)?.closest("section"); // the page itself has those of losses and runs
    this.element = begun ?? element("section", { "aria-labelledby": id }, element("h2", { id }, title));
    this.element.append(grid);
    this.isRare = figures.every(({ only }) => only);
    this.panels = figures.map((figure) => new Panel(grid, figure));
    this.way = document.querySelector(`#ways a[href="#${id}"]`)?.closest("li");
    if (begun) return;
    this.way = element("li", {}, element("a", { href: `#${id}` }, title));
    byId("ways").append(this.way);
    place.append(this.element);
  }

  draw(history, readings) {
    for (const panel of this.panels) panel.draw(history, readings);
    const hasRows = this.element.querySelector("tbody tr") !== null;
    this.element.hidden = this.isRare && !hasRows && this.panels.every((panel) => panel.isEmpty);
    this.way.hidden = this.element.hidden;
  }
}

/** A figure's title, meaning, chart and legend. It draws only what can be seen. */
class Panel {
  #isSeen = false;
  #latest;

  constructor(grid, figure) {
    const { limit, wide, stacked } = CHARTS[figure.key] ?? {};
    Object.assign(this, { figure, limit, isEmpty: true, names: labelsOf(figure.curves[0].expression) });
    this.of = element("span", { class: "limit" });
    this.plot = element("div", { class: "plot" });
    const legend = element("ul", { class: "legend" });
    this.nothing = element("p", { class: "nothing", hidden: "" }, "Nothing so far");
    const head = element("h3", {}, figure.title, this.of);
    const caption = element("figcaption", {}, head, element("p", {}, figure.meaning));
    const attributes = { class: wide ? "card wide" : "card", "data-figure": figure.key };
    this.element = element("figure", attributes, caption, this.plot, this.nothing, legend);
    this.chart = new Chart(this.plot, legend, { unit: figure.unit, stacked });
    grid.append(this.element);
    new IntersectionObserver((entries) => this.#see(entries.at(-1).isIntersecting), { rootMargin: "200px" }).observe(
      this.element,
    );
  }

  draw(history, readings) {
    this.#latest = [history, readings];
    const tracks = this.#tracks(history);
    this.isEmpty = !tracks.length;
    this.plot.hidden = this.isEmpty;
    this.nothing.hidden = !this.isEmpty;
    if (this.#isSeen) this.#drawNow(history, readings, tracks);
  }

  drawUnseen() {
    if (this.#latest) this.#drawNow(...this.#latest, this.#tracks(this.#latest[0]));
  }

  #see(isSeen) {
    this.#isSeen = isSeen;
    if (isSeen && this.#latest) this.draw(...this.#latest);
  }

  #drawNow(history, readings, tracks) {
    this.chart.draw(history.times, tracks);
    const limit = this.limit && numberIn(readings, curveId(this.figure.key, this.limit));
    setText(this.of, limit === undefined || this.limit === undefined ? "" : ` of ${format(this.figure.unit, limit)}`);
  }

  /** The lines that ever left 0: one colour for the same labels, with a dash for each further curve. */
  #tracks(history) {
    const shown = this.figure.curves.filter(({ name }) => name !== this.limit || !name);
    const tracks = shown.flatMap(({ name }) =>
      [...history.of(curveId(this.figure.key, name))].map(([key, numbers]) => ({ key, curve: name, numbers })),
    );
    const drawn = tracks.filter(({ numbers }) => numbers.some((number) => number));
    const keys = new Set([...new Set(drawn.map((track) => this.#own(track)))].slice(0, COLOURS));
    const visible = drawn.filter((track) => keys.has(this.#own(track)));
    return visible.map((track) => ({ ...track, ...this.#told(track) }));
  }

  #slot(track) {
    return sharedSlot(this.names.length ? this.names : [this.figure.key], this.#own(track));
  }

  /** What has a colour: labels, whose curves have dashes; without labels, each curve. */
  #own({ key, curve }) {
    return this.names.length ? key : curve;
  }

  /** Colour, dash and words: of curves without labels, the curve's name. */
  #told(track) {
    const label = JSON.parse(track.key).join(" ");
    const words = label ? { label } : { label: track.curve || this.figure.title, curve: "" };
    return { slot: this.#slot(track), ...words };
  }
}
