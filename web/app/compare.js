// Two answers beside each other: Dice, volumes and differences of their masks.
import {check, fill, h, swatch} from "./dom.js";
import {title} from "./desk.js";
import {voxelMillilitres} from "./places.js";
import {agreement, difference} from "./volumes.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./desk.js").Result} Result */
/** @typedef {import("./types.js").GridFinding} GridFinding */

/** The values of a difference. @type {Record<number, number[]>} */
const COLOURS = {1: [230, 97, 1], 2: [94, 160, 255], 3: [214, 110, 220]};
const NAMES = /** @type {[number, string][]} */ ([[1, "only in A"], [2, "only in B"], [3, "another label"]]);

/** @param {Desk} desk @returns {HTMLElement} */
export function comparePanel(desk) {
  const choose = (/** @type {string} */ label) => h("select", {"aria-label": label, onchange: () => {
    chosen = true;
    show();
  }});
  const first = choose("First answer"), second = choose("Second answer");
  const body = h("div");
  let shown = false, chosen = false;
  const options = () => {
    const kept = [first.value, second.value];
    [first, second].forEach((select, at) => {
      fill(select, ...desk.results.map((result) => h("option", {value: result.number}, `${title(result)} ${words(result)}`)));
      select.value = chosen ? kept[at] : "";
      if (!select.value) select.value = String(desk.results[Math.min(1 - at, desk.results.length - 1)]?.number ?? "");
    });
    show();
  };
  const show = () => {
    const [one, other] = [first, second].map((select) => desk.results.find(({number}) => String(number) === select.value));
    desk.extras.delete("difference");
    if (!one || !other || one === other) {
      fill(body, h("p", {class: "hint"}, desk.results.length < 2 ? "Run two models, or one with two sets of parameters, to compare their masks." : "Choose two different answers."));
      return;
    }
    const pairs = pairsOf(one, other);
    if (shown) desk.extras.set("difference", pairs.map(([a, b], at) => overlay(a, b, at)));
    const toggle = check("Show the difference", shown, (checked) => {
      shown = checked;
      for (const finding of [...one.reading.findings, ...other.reading.findings]) finding.visible = !checked && finding.group !== other.answer.id;
      show();
      desk.draw();
    });
    fill(body, ...(pairs.length ? [table(desk, pairs), toggle, legend()] : [h("p", {class: "hint"}, "These answers have no masks of one name and kind on one series.")]));
  };
  desk.addEventListener("results", options);
  desk.addEventListener("drawn", () => body.querySelector("table") && refresh(desk, body, first, second));
  const panel = h("section", {class: "panel", "aria-label": "Compare"}, h("label", {class: "row"}, swatch(COLOURS[1]), "A", first), h("label", {class: "row"}, swatch(COLOURS[2]), "B", second), body);
  options();
  return panel;
}

/** Parameters in which answers differ. @param {Result} result */
const words = ({answer}) => Object.entries(answer.parameters).map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(", ");

/** Thresholds may have changed: measure again. @param {Desk} desk @param {HTMLElement} body @param {HTMLSelectElement} first @param {HTMLSelectElement} second */
function refresh(desk, body, first, second) {
  const [one, other] = [first, second].map((select) => desk.results.find(({number}) => String(number) === select.value));
  if (one && other) body.querySelector("table")?.replaceWith(table(desk, pairsOf(one, other)));
}

/** Masks of one kind, name and grid; where names differ, those at one place. @param {Result} one @param {Result} other @returns {[GridFinding, GridFinding][]} */
function pairsOf(one, other) {
  const grids = (/** @type {Result} */ {reading}) => /** @type {GridFinding[]} */ (reading.findings.filter((each) => "data" in each && each.kind !== "heatmap"));
  const rest = grids(other);
  return grids(one).flatMap((a) => {
    const same = rest.filter((b) => b.series === a.series && String(b.shape) === String(a.shape) && (b.kind === "labels") === (a.kind === "labels"));
    const b = same.find(({name}) => name === a.name) ?? (same.length === 1 ? same[0] : undefined);
    return b ? [/** @type {[GridFinding, GridFinding]} */ ([a, b])] : [];
  });
}

/** @param {Desk} desk @param {[GridFinding, GridFinding][]} pairs */
function table(desk, pairs) {
  const rows = pairs.flatMap(([a, b]) => {
    const series = desk.study?.series.find(({uid}) => uid === a.series);
    const millilitres = series ? voxelMillilitres(series) : null;
    const size = (/** @type {number | null} */ count) => (count === null ? "—" : millilitres === null ? count.toLocaleString("en") : (count * millilitres).toFixed(1));
    return agreement(a, b).map(({name, one, other, dice}) => h("tr", {}, h("th", {scope: "row"}, name), h("td", {}, size(one)), h("td", {}, size(other)), h("td", {}, dice === null ? "—" : dice.toFixed(3))));
  });
  const head = ["Region", "A, ml", "B, ml", "Dice"].map((text) => h("th", {scope: "col"}, text));
  return h("table", {class: "figures"}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
}

function legend() {
  return h("ul", {class: "legend"}, ...NAMES.map(([value, text]) => h("li", {}, swatch(COLOURS[value]), text)));
}

/** @param {GridFinding} a @param {GridFinding} b @param {number} at @returns {GridFinding} */
function overlay(a, b, at) {
  return {
    id: `difference-${at}`, group: "difference", series: a.series, name: "Difference", kind: "labels", visible: true, opacity: 0.5, outline: false,
    data: difference(a, b), shape: a.shape, palette: COLOURS, hidden: [], labels: new Map(NAMES),
  };
}
