// Light or dark: as the reader's system says, or as the reader says.

import { byId } from "./dom.js";

const SAVED = "losswire-theme";
const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Applies the theme, and calls `changed` whenever it changes. */
export function startTheme(changed) {
  const choice = byId("theme");
  const apply = () => {
    const theme = choice.value === "auto" ? (DARK.matches ? "dark" : "light") : choice.value;
    document.documentElement.dataset.theme = theme;
    changed();
  };
  choice.value = stored() ?? "auto";
  choice.addEventListener("change", () => {
    keep(choice.value);
    apply();
  });
  DARK.addEventListener("change", apply);
  apply();
}

function stored() {
  try {
    return localStorage.getItem(SAVED);
  } catch {
    return null; // a reader may forbid it
  }
}

function keep(value) {
  try {
    localStorage.setItem(SAVED, value);
  } catch {
    // then the choice is for this visit
  }
}
