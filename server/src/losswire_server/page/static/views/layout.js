// Where figures of the table are shown. Those that are named nowhere here have a chart in their section.

/** What the head of the page says. */
export const HEAD = { version: "builds", uptime: "uptime", processes: "processes" };

/** The key numbers: sums over all labels, or of the label that had most of another figure. */
export const TILES = [
  { figure: "calls" },
  { figure: "rows" },
  { figure: "bytes" },
  { figure: "latency", curve: "p99", busiest: "calls" },
  { figure: "error_ratio" },
  { figure: "inflight", curve: "in flight", limit: "budget" },
  { figure: "shared_memory", curve: "leased", limit: "budget" },
  { figure: "cpu" },
];

/** The columns of the table of series, after the mean. */
export const SERIES = {
  mean: "mean_loss",
  rows: "series_rows",
  nonfinite: "nonfinite_rows",
  unsummed: "unsummed",
  columns: [
    { figure: "loss_quantiles", curve: "p10" },
    { figure: "loss_quantiles", curve: "p50" },
    { figure: "loss_quantiles", curve: "p90" },
    { figure: "perplexity" },
    { figure: "top1" },
    { figure: "series_rows" },
    { figure: "ignored_rows" },
  ],
};

/** The columns of the table of runs. */
export const RUNS = {
  progress: "run_progress",
  keys: "run_keys",
  rows: "run_rows",
  mean: "run_mean_loss",
  nonfinite: "run_nonfinite_rows",
  finished: "run_finished",
};

/** The order of sections; others follow. */
const ORDER = ["Traffic", "Latency", "Where the time goes", "Batching", "Saturation", "Errors"];

/** How single charts differ from others: stacked, or with a limit that is told and not drawn. */
export const CHARTS = {
  stage_share: { stacked: true, wide: true },
  inflight: { limit: "budget" },
  shared_memory: { limit: "budget" },
  head_bytes: { limit: "budget" },
  series_in_use: { limit: "limit" },
};

const ELSEWHERE = new Set([
  ...Object.values(HEAD),
  ...[SERIES.mean, SERIES.unsummed, SERIES.nonfinite],
  ...SERIES.columns.map(({ figure }) => figure),
  ...Object.values(RUNS),
]);

/** The sections that have charts, in order, with the figures of these charts. */
export function chartSections(sections) {
  const charted = sections.map(({ title, figures }) => [title, figures.filter(({ key }) => !ELSEWHERE.has(key))]);
  const place = ([title]) => (ORDER.includes(title) ? ORDER.indexOf(title) : ORDER.length);
  return charted.filter(([, figures]) => figures.length).sort((left, right) => place(left) - place(right));
}
