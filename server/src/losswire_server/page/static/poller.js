// Looks at the server every two seconds, more seldom if its answer takes long, and not while nobody looks at the page.

import { parse } from "./numbers/exposition.js";
import { Interval, Scrape } from "./numbers/interval.js";

const POLL_SECONDS = 2;
const FIRST_SECONDS = 0.5; // from the first look to the second, before which there are no rates
const LEAST_REST = 20; // times the time of an answer: a server with many series must not work for the page all the time
const WINDOW_SECONDS = 10; // rates of less are restless
const TIMEOUT_SECONDS = 5;

/**
 * Calls `seen` with {state, scrape, interval}: the state is "serving", "not serving", "without metrics" or
 * "unreachable". There is no scrape if the metrics do not come, and no interval before there are two scrapes.
 */
export class Poller {
  #scrapes = [];
  #timer;
  #polling = false;

  constructor(seen) {
    this.seen = seen;
  }

  start() {
    document.addEventListener("visibilitychange", () => this.#wake());
    this.#wake();
  }

  #wake() {
    clearTimeout(this.#timer);
    this.#scrapes = []; // what happens while nobody looks is no window
    if (!document.hidden && !this.#polling) this.#poll();
  }

  async #poll() {
    this.#polling = true;
    const began = performance.now();
    const look = await this.#look();
    const milliseconds = performance.now() - began;
    this.#polling = false;
    const pause = this.#scrapes.length === 1 ? FIRST_SECONDS : POLL_SECONDS;
    if (!document.hidden)
      this.#timer = setTimeout(() => this.#poll(), Math.max(pause * 1000, milliseconds * LEAST_REST));
    this.seen(look); // last, so that a fault in a view does not end the looking
  }

  async #look() {
    const [health, scrape] = await Promise.allSettled([ask("healthz"), this.#scrape()]);
    if (scrape.status === "fulfilled" && health.status === "fulfilled")
      return { state: stateOf(health.value), scrape: scrape.value, interval: this.#window(scrape.value) };
    this.#scrapes = [];
    return { state: health.status === "fulfilled" ? "without metrics" : "unreachable" };
  }

  async #scrape() {
    const answer = await ask("metrics");
    if (!answer.ok) throw new Error(answer.statusText);
    const samples = parse(await answer.text());
    const time = Date.parse(answer.headers.get("Date")) || Date.now(); // the server's clock, not the reader's
    return new Scrape(samples, performance.now() / 1000, time / 1000);
  }

  /** From the oldest scrape in the window to this one. */
  #window(scrape) {
    this.#scrapes.push(scrape);
    const recent = this.#scrapes.findIndex(({ at }) => scrape.at - at <= WINDOW_SECONDS);
    this.#scrapes.splice(0, Math.min(recent, this.#scrapes.length - 2)); // a slow server has a window of two scrapes
    return this.#scrapes.length > 1 ? new Interval(this.#scrapes[0], scrape) : undefined;
  }
}

function stateOf(health) {
  return health.ok ? "serving" : "not serving";
}

function ask(path) {
  return fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000) });
}
