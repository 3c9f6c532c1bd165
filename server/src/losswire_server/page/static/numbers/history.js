// The numbers of the last minutes: for each curve and each combination of labels as many as there are times.

export const KEPT_SECONDS = 15 * 60;
const SAVED = "losswire-history";
const MOST_SAVED = 3_000_000; // characters; browsers allow five million

export class History {
  constructor(kept = KEPT_SECONDS) {
    this.kept = kept;
    this.times = [];
    this.curves = new Map();
  }

  /** Adds the numbers of a moment, in seconds since 1970: Maps by the names of curves. */
  add(time, readings) {
    const place = this.times.length;
    this.times.push(Math.max(time, (this.times.at(-1) ?? 0) + 0.001)); // a clock that was set back draws no loop
    for (const [curve, numbers] of readings) {
      for (const [key, number] of numbers)
        this.#track(curve, key, place)[place] = Number.isFinite(number) ? number : null;
    }
    this.#fill();
    this.#forget(time - this.kept);
  }

  /** Interrupts all lines. */
  gap(time) {
    if (this.times.length) this.add(time, new Map());
  }

  /** The numbers of a curve, by labels. */
  of(curve) {
    return this.curves.get(curve) ?? new Map();
  }

  /** The sum of a curve's numbers for some labels. */
  sum(curve, key) {
    return (this.of(curve).get(key) ?? []).reduce((sum, number) => sum + (number ?? 0), 0);
  }

  save(storage) {
    const curves = [...this.curves].map(([curve, tracks]) => [curve, [...tracks]]);
    const text = JSON.stringify([this.times, curves], rounded);
    if (text.length <= MOST_SAVED) storage.setItem(SAVED, text);
  }

  load(storage, now) {
    const saved = storage.getItem(SAVED);
    if (!saved) return;
    const [times, curves] = JSON.parse(saved);
    this.times = times;
    this.curves = new Map(curves.map(([curve, tracks]) => [curve, new Map(tracks)]));
    this.gap(now);
  }

  #track(curve, key, place) {
    if (!this.curves.has(curve)) this.curves.set(curve, new Map());
    const tracks = this.curves.get(curve);
    if (!tracks.has(key)) tracks.set(key, new Array(place).fill(null));
    return tracks.get(key);
  }

  #fill() {
    for (const tracks of this.curves.values()) {
      for (const numbers of tracks.values()) while (numbers.length < this.times.length) numbers.push(null);
    }
  }

  #forget(oldest) {
    const old = this.times.findIndex((time) => time >= oldest);
    if (old <= 0) return;
    this.times.splice(0, old);
    for (const tracks of this.curves.values()) {
      for (const [key, numbers] of tracks) {
        numbers.splice(0, old);
        if (numbers.every((number) => number === null)) tracks.delete(key);
      }
    }
  }
}

function rounded(_, value) {
  return typeof value === "number" && value < 1e9 ? Number(value.toPrecision(6)) : value; // but for times
}
