// Numbers of the table's units, for people.

const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const COMPACT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const PERCENT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, style: "percent" });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SECONDS = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
];
const BYTES = [
  [1e12, "TB"],
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
  [1, "B"],
];
const NONE = "–";

const FORMS = {
  "per second": (number) => `${short(number)}/s`,
  seconds: (number) => scaled(number, SECONDS),
  bytes: (number) => scaled(number, BYTES),
  "bytes per second": (number) => `${scaled(number, BYTES)}/s`,
  ratio: (number) => PERCENT.format(number),
  count: short,
  loss: (number) => number.toPrecision(5),
  cores: (number) => `${SHORT.format(number)} ${number === 1 ? "core" : "cores"}`,
};

/** A number in a unit; a dash if there is none. */
export function format(unit, number) {
  if (number === undefined || number === null || Number.isNaN(number)) return NONE;
  return Number.isFinite(number) ? FORMS[unit](number) : String(number).replace("Infinity", "∞");
}

export function whole(number) {
  return WHOLE.format(number);
}

/** How long something has been, in its two largest units: 3 h 12 min. */
export function age(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
  ];
  parts.push([Math.floor(seconds / 60) % 60, "min"], [Math.floor(seconds) % 60, "s"]);
  const first = parts.findIndex(([number], place) => number || place === parts.length - 1);
  return parts
    .slice(first, first + 2)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(" ");
}

function short(number) {
  return (Math.abs(number) < 10_000 ? SHORT : COMPACT).format(number);
}

function scaled(number, scales) {
  const [size, name] = scales.find(([least]) => Math.abs(number) >= least) ?? scales.at(-1);
  return `${SHORT.format(number / size)} ${name}`;
}
