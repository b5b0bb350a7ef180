// Light or dark: as the system has it, until a person chooses.
import {button, fill} from "./dom.js";

const KEY = "gateway-theme";
const NEXT = /** @type {Record<string, string>} */ ({auto: "dark", dark: "light", light: "auto"});
const NAMES = /** @type {Record<string, string>} */ ({auto: "Theme: system", dark: "Theme: dark", light: "Theme: light"});

/** @returns {HTMLElement} */
export function themeButton() {
  const apply = (/** @type {string} */ theme) => {
    document.documentElement.dataset.theme = theme;
    fill(control, NAMES[theme]);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // a browser that stores nothing forgets the choice
    }
  };
  const control = button("", () => apply(NEXT[document.documentElement.dataset.theme ?? "auto"] ?? "auto"), {class: "small"});
  apply(kept());
  return control;
}

function kept() {
  try {
    const theme = localStorage.getItem(KEY) ?? "";
    return NEXT[theme] ? theme : "auto";
  } catch {
    return "auto";
  }
}
