// Colours of lines, which style sheets set for each theme, and dashes. Both tell lines apart for who sees no colours.

export const COLOURS = 8;
const DASHES = { p50: [5, 4], out: [5, 4] };

export function colour(slot) {
  return property(`--line-${slot}`);
}

export function property(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function dashOf(curve) {
  return DASHES[curve];
}

const SHARED = new Map();

/** The colour of labels that form closed sets: the same in all charts. */
export function sharedSlot(names, key) {
  const domain = names.join();
  if (!SHARED.has(domain)) SHARED.set(domain, new Map());
  const slots = SHARED.get(domain);
  if (!slots.has(key)) slots.set(key, slots.size % COLOURS);
  return slots.get(key);
}

/** Gives names colours that they keep for as long as they are shown. */
export class Slots {
  #slots = new Map();

  of(name) {
    return this.#slots.get(name);
  }

  /** The slots of names, no more than there are colours. */
  assign(names) {
    const kept = new Map(names.filter((name) => this.#slots.has(name)).map((name) => [name, this.#slots.get(name)]));
    const taken = new Set(kept.values());
    const free = Array.from({ length: COLOURS }, (_, slot) => slot).filter((slot) => !taken.has(slot));
    for (const name of names) if (!kept.has(name)) kept.set(name, free.shift());
    this.#slots = kept;
    return kept;
  }
}
