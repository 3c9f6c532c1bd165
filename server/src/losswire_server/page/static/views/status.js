// The head of the page: whether the server serves, and what it is.

import { numberIn, sumIn } from "../numbers/figures.js";
import { age } from "../numbers/format.js";
import { byId, setText } from "./dom.js";
import { HEAD } from "./layout.js";

const CLOCK = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const WORDS = {
  serving: () => "Serving",
  "not serving": () => "Not serving: it starts, or finishes its calls and stops",
  "without metrics": (since) => `Metrics do not come since ${CLOCK.format(since)}; trying again`,
  unreachable: (since) => `No answer since ${CLOCK.format(since)}; trying again`,
};

export class Status {
  #state = "";
  #since = new Date();

  draw(state, readings) {
    if (state !== this.#state) this.#since = new Date();
    this.#state = state;
    document.body.dataset.state = state;
    document.title = state === "serving" ? "Losswire" : `Losswire: ${state}`;
    setText(byId("state"), WORDS[state](this.#since));
    if (readings) this.#tell(readings);
  }

  #tell(readings) {
    const [build] = readings.get(HEAD.version)?.keys() ?? [];
    const [version, torch, device] = build ? JSON.parse(build) : [];
    const processes = sumIn(readings, HEAD.processes);
    const told = [version && `version ${version}`, torch && `PyTorch ${torch}`, device && `on ${device}`];
    setText(byId("version"), told.filter(Boolean).join(", "));
    setText(byId("uptime"), `up ${age(numberIn(readings, HEAD.uptime))}`);
    setText(byId("processes"), processes === undefined ? "" : `${processes} processes`);
  }
}
