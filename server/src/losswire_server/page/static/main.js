// Starts the page: the table of figures once, then the server's metrics again and again.

import { byId } from "./views/dom.js";
import { Figures } from "./numbers/figures.js";
import { History } from "./numbers/history.js";
import { Interval } from "./numbers/interval.js";
import { Poller } from "./poller.js";
import { Runs } from "./views/runs.js";
import { Sections } from "./views/sections.js";
import { Series } from "./views/series.js";
import { Status } from "./views/status.js";
import { startTheme } from "./views/theme.js";
import { Tiles } from "./views/tiles.js";

const NOTHING = new Map();
const RETRY_SECONDS = 2;

async function start() {
  const figures = new Figures(await table());
  const history = restored();
  const status = new Status();
  const [tiles, series] = [new Tiles(byId("tiles"), figures), new Series(figures)];
  const runs = new Runs(figures);
  const sections = new Sections(byId("sections"), figures);
  let latest;

  function draw() {
    tiles.draw(history, latest.readings, latest.totals);
    series.draw(history, latest.readings, latest.totals);
    runs.draw(latest.totals); // before the sections, which look whether there are any
    sections.draw(history, latest.readings);
  }

  function seen({ state, scrape, interval }) {
    status.draw(state, scrape && figures.read(interval ?? Interval.sinceStart(scrape)));
    if (!scrape) return history.gap(Date.now() / 1000);
    latest = {
      totals: figures.read(Interval.sinceStart(scrape)),
      readings: interval ? figures.read(interval) : NOTHING,
    };
    if (interval) history.add(Date.now() / 1000, latest.readings);
    draw();
  }

  startTheme(() => {
    series.restyle();
    sections.restyle();
    if (latest) draw();
  });
  addEventListener("beforeprint", () => sections.drawAll());
  addEventListener("pagehide", () => guarded(() => history.save(sessionStorage)));
  new Poller(seen).start();
}

async function table() {
  for (;;) {
    try {
      return await (await fetch("page/figures.json")).json();
    } catch {
      await new Promise((wake) => setTimeout(wake, RETRY_SECONDS * 1000)); // the server went away meanwhile
    }
  }
}

function restored() {
  const history = new History();
  guarded(() => history.load(sessionStorage, Date.now() / 1000));
  return history;
}

/** A reader may forbid storage, or it may be full; then a reload begins anew. */
function guarded(store) {
  try {
    store();
  } catch (error) {
    console.info("no history is kept over a reload:", error.message);
  }
}

start();
