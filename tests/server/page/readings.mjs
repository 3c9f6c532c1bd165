// Reads {table, before, after, seconds, time} from standard input, and prints the numbers of all curves.

import { readFileSync } from "node:fs";

const numbers = new URL("../../../server/src/losswire_server/page/static/numbers/", import.meta.url);
const { parse } = await import(new URL("exposition.js", numbers));
const { Interval, Scrape } = await import(new URL("interval.js", numbers));
const { Figures } = await import(new URL("figures.js", numbers));

const given = JSON.parse(readFileSync(0, "utf8"));
const before = new Scrape(parse(given.before), 0, NaN);
const after = new Scrape(parse(given.after), given.seconds, given.time);
const readings = new Figures(given.table).read(new Interval(before, after));
const told = [...readings].map(([curve, each]) => [
  curve,
  [...each].map(([key, number]) => [JSON.parse(key), String(number)]),
]);
console.log(JSON.stringify(told));
