"""What is on a canvas."""

from playwright.sync_api import Page

COLOURED = """place => {
  const canvas = document.querySelector(`${place} canvas`);
  if (!canvas || !canvas.width) return false;
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let coloured = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue] = data.subarray(at, at + 3);
    if (data[at + 3] > 100 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) coloured += 1;
  }
  return coloured > 50; // grids and texts are grey
}"""


def coloured(page: Page, place: str) -> None:
    """Waits until something coloured is drawn on the first canvas at a place."""
    page.wait_for_function(COLOURED, arg=place)
