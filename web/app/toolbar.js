// Above the pictures: planes, windows, tools.
import {button, check, fill, h, newId} from "./dom.js";
import {fileName} from "./downloads.js";
import {save} from "./dom.js";
import {announce, fail} from "./notices.js";

/** @typedef {import("./desk.js").Desk} Desk */

/** @type {[import("../viewer/viewer.js").View, string][]} */
const VIEWS = [["stack", "Stack"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["all", "All planes"]];
/** @type {[import("../viewer/gestures.js").Tool, string, string][]} */
const TOOLS = [["scroll", "Scroll", "S"], ["window", "Window", "W"], ["pan", "Pan", "P"], ["zoom", "Zoom", "Z"], ["point", "Point", "C"], ["length", "Length", "M"]];
/** What keys do on the pictures. */
const KEYS = [
  ["Arrows, wheel", "slice by slice"], ["Page Up, Page Down", "ten slices"], ["Home, End", "first and last slice"],
  ["1 to 9", "windows of the list"], ["+ and −", "zoom"], ["Shift and arrows", "move the picture, or the cross"],
  ["S, W, P, Z, C, M", "tools: scroll, window, pan, zoom, point, length"], ["Enter, Shift and Enter", "a click that adds, that removes; Enter: the ends of a length"], ["Delete", "removes the last length"],
  ["Space", "findings on and off"], ["I", "invert"], ["B", "smooth or square pixels"], ["T", "texts on and off"], ["R", "reset"],
];

/** @param {Desk} desk @returns {HTMLElement} */
export function toolbar(desk) {
  const {viewer} = desk;
  const planes = h("select", {"aria-label": "Planes", onchange: () => viewer.setPlane(/** @type {any} */ (planes.value))}, ...VIEWS.map(([value, text]) => h("option", {value}, text)));
  const tools = TOOLS.map(([tool, text, key]) => button(text, () => viewer.setTool(tool), {"aria-pressed": "false", title: `${text} (${key})`, "data-tool": tool}));
  const keys = keysDialog();
  const reset = button("Reset", () => viewer.reset());
  const png = button("PNG", () => void viewer.toBlob().then((blob) => save(blob, `${fileName(viewer.series?.description ?? "view")}.png`)).catch(fail), {title: "Save this view as a picture"});
  const windows = windowList(desk);
  const lengths = button("Clear lengths", () => viewer.eraseLength(true), {hidden: true});
  viewer.addEventListener("length", (event) => {
    const {words, count} = /** @type {CustomEvent} */ (event).detail;
    lengths.hidden = !count;
    if (words) announce(words);
  });
  for (const name of ["series", "study"]) desk.addEventListener(name, () => (lengths.hidden = !viewer.scene?.lengths.length));
  const controls = [planes, windows, ...tools, reset, png];
  const shown = check("Findings", true, (checked) => viewer.setOverlaid(checked));
  const follow = () => {
    for (const control of controls) control.disabled = !viewer.series;
    for (const each of tools) each.setAttribute("aria-pressed", String(each.dataset.tool === viewer.tool));
    for (const option of planes.options) option.disabled = option.value !== "stack" && !viewer.series?.volumetric;
    planes.value = viewer.view;
  };
  viewer.addEventListener("view", follow);
  for (const name of ["series", "study", "loaded"]) desk.addEventListener(name, follow);
  viewer.addEventListener("view", (event) => (/** @type {HTMLInputElement} */ (shown.querySelector("input")).checked = /** @type {CustomEvent} */ (event).detail.overlaid !== false));
  follow();
  return h("div", {class: "toolbar", role: "toolbar", "aria-label": "Pictures"}, planes, windows, h("div", {class: "group"}, ...tools), lengths, shown,
    reset, png, button("?", () => keys.showModal(), {"aria-label": "Keys", title: "Keys"}), keys);
}

/** The windows of the series. They are measured once for each, since that takes time. @param {Desk} desk */
function windowList(desk) {
  const {viewer} = desk;
  let presets = viewer.presets;
  const list = h("select", {"aria-label": "Window", onchange: () => {
    const {center, width, ...rest} = presets[Number(list.value)];
    viewer.setWindow(center, width, rest);
  }});
  const follow = () => {
    const {window} = viewer;
    const at = presets.findIndex((each) => each.center === window?.center && each.width === window?.width);
    list.value = at < 0 ? "" : String(at);
  };
  const measure = () => {
    presets = viewer.presets;
    fill(list, ...presets.map((each, at) => h("option", {value: at}, each.name ?? "")), h("option", {value: "", hidden: true}, presets.length ? "Own" : "Window"));
    follow();
  };
  for (const name of ["series", "loaded"]) desk.addEventListener(name, measure);
  viewer.addEventListener("window", follow);
  measure();
  return list;
}

function keysDialog() {
  const id = newId("keys");
  const dialog = h("dialog", {"aria-labelledby": id});
  dialog.append(h("h2", {id}, "Keys on the pictures"), h("table", {}, h("tbody", {}, ...KEYS.map(([key, does]) => h("tr", {}, h("th", {scope: "row"}, key), h("td", {}, does))))), button("Close", () => dialog.close(), {class: "primary"}));
  return dialog;
}
