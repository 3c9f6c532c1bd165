"""Where the page's files are, and those of them that are not ours."""

from pathlib import Path

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "server/src/losswire_server/page/static"
PACKAGES = ROOT / "server/vendor"
VENDORED = {  # by their names in the page: where npm unpacks them
    "uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
    "uPlot.min.css": "uplot/dist/uPlot.min.css",
    "LICENSE": "uplot/LICENSE",
}
