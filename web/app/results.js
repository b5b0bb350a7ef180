// Answers: what each found, how it is drawn, and its files.
import {button, check, fill, h, save, slider, swatch} from "./dom.js";
import {setVisible, title} from "./desk.js";
import {fileName, saveAs, saveJSON, saveMask, saveReceipt} from "./downloads.js";
import {fail, requestId} from "./notices.js";
import {voxelMillilitres} from "./places.js";
import {regions, voxels} from "./volumes.js";
import {collect} from "../viewer/series.js";
import {parsePicture} from "../viewer/pictures.js";
import {rampOf} from "../viewer/palettes.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./desk.js").Result} Result */
/** @typedef {import("./types.js").Finding} Finding */
/** @typedef {import("./types.js").GridFinding} GridFinding */

/** @param {Desk} desk @returns {HTMLElement} */
export function resultsPanel(desk) {
  const panel = h("section", {class: "panel", "aria-label": "Results"});
  const show = () => fill(panel, ...(desk.results.length ? desk.results.map((result, at) => resultCard(desk, result, at === 0)) : [h("p", {class: "hint"}, "Answers of models appear here.")]));
  desk.addEventListener("results", show);
  show();
  return panel;
}

/** @param {Desk} desk @param {Result} result @param {boolean} open */
function resultCard(desk, result, open) {
  const {answer, reading} = result;
  const grids = /** @type {GridFinding[]} */ (reading.findings.filter((finding) => "data" in finding));
  const marks = reading.findings.filter((finding) => !("data" in finding));
  const all = check("Show", reading.findings.some(({visible}) => visible), (checked) => {
    setVisible(result, checked);
    desk.draw();
    desk.dispatchEvent(new Event("results"));
  });
  const parameters = Object.entries(answer.parameters).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return h("details", {class: "result", open},
    h("summary", {}, h("span", {class: "strong"}, title(result)), " ", h("span", {class: "faint"}, parameters || answer.route)),
    reading.findings.length > 0 && h("div", {class: "row between"}, all, button("Remove", () => desk.remove(result), {class: "small"})),
    ...grids.map((finding) => gridRow(desk, finding)), ...groupsOf(marks).map((group) => markRow(desk, group)),
    ...reading.facts.map(({title: name, value}) => h("div", {class: "facts"}, h("p", {class: "strong"}, name), facts(value))),
    ...reading.objects.map((object) => objectRow(desk, object)),
    ![reading.findings, reading.facts, reading.objects, reading.notes].some((list) => list.length) && h("p", {class: "hint"}, "The model found nothing to show."),
    ...reading.notes.map((note) => h("p", {class: "warning"}, note)),
    filesRow(result, grids), provenance(result));
}

/** @param {Desk} desk @param {GridFinding} finding */
function gridRow(desk, finding) {
  const series = desk.study?.series.find(({uid}) => uid === finding.series);
  const drawn = () => desk.draw();
  const legend = h("ul", {class: "legend"});
  const measure = () => fill(legend, ...legendRows(finding, series ? voxelMillilitres(series) : null, drawn));
  measure();
  return h("div", {class: "finding"},
    h("div", {class: "row between"}, h("span", {class: "row"}, check(finding.name, finding.visible !== false, (checked) => {
      finding.visible = checked;
      drawn();
    })), button("Go to", () => desk.goTo(finding.series, middle(finding)), {class: "small", "aria-label": `Go to ${finding.name}`})),
    finding.kind === "heatmap" ? ramp(finding) : legend,
    slider("Opacity", finding.opacity ?? 1, (share) => {
      finding.opacity = share;
      drawn();
    }),
    finding.kind === "probability" && slider("Threshold", finding.threshold, (share) => {
      finding.threshold = share;
      measure();
      drawn();
    }),
    finding.kind !== "heatmap" && check("Outline", finding.outline !== false, (checked) => {
      finding.outline = checked;
      drawn();
    }));
}

/** @param {GridFinding} finding @param {number | null} millilitres @param {() => void} drawn */
function legendRows(finding, millilitres, drawn) {
  const counts = voxels(finding);
  return regions(finding).map(({value, name, colour}, at) => {
    const size = millilitres === null ? `${counts[at].toLocaleString("en")} voxels` : `${(counts[at] * millilitres).toFixed(1)} ml`;
    const hidden = finding.kind === "labels" ? finding.hidden ?? [] : null;
    const text = hidden && finding.kind === "labels"
      ? check(name, !hidden.includes(value), (checked) => {
        finding.hidden = checked ? (finding.hidden ?? []).filter((each) => each !== value) : [...(finding.hidden ?? []), value];
        drawn();
      }) : h("span", {}, finding.kind === "probability" ? "above the threshold" : "volume");
    return h("li", {}, swatch(colour), text, h("span", {class: "figure"}, size));
  });
}

/** The palette of a heatmap, from low to high. @param {GridFinding} finding */
function ramp(finding) {
  const canvas = h("canvas", {width: 256, height: 1, class: "ramp", role: "img", "aria-label": "The palette, from low to high"});
  const colours = rampOf(finding.kind === "heatmap" ? finding.palette : null);
  canvas.getContext("2d")?.putImageData(new ImageData(new Uint8ClampedArray(colours.slice().buffer), 256, 1), 0, 0);
  return h("div", {class: "row"}, h("span", {class: "faint"}, "low"), canvas, h("span", {class: "faint"}, "high"));
}

/** The voxel in the middle of the slice on which most of a mask is. @param {GridFinding} finding @returns {number[]} */
function middle(finding) {
  const [slices, rows, columns] = finding.shape;
  const every = regions(finding), size = rows * columns;
  const inside = Uint8Array.from({length: 256}, (_, value) => Number(every.some(({has}) => has(value))));
  let best = 0, most = -1;
  for (let slice = 0; slice < slices; slice++) {
    let count = 0;
    for (let at = slice * size; at < (slice + 1) * size; at++) count += inside[finding.data[at]];
    if (count > most) [best, most] = [slice, count];
  }
  return [best, rows >> 1, columns >> 1];
}

/** Boxes and lengths by their names. @param {Finding[]} marks @returns {Finding[][]} */
function groupsOf(marks) {
  /** @type {Map<string, Finding[]>} */
  const groups = new Map();
  for (const mark of marks) groups.set(mark.kind + mark.name, [...(groups.get(mark.kind + mark.name) ?? []), mark]);
  return [...groups.values()];
}

/** @param {Desk} desk @param {Finding[]} group */
function markRow(desk, group) {
  let next = 0;
  const [{kind, name, colour}] = group;
  const go = () => {
    const mark = group[next++ % group.length];
    desk.goTo(mark.series, /** @type {any} */ (mark).from ?? /** @type {any} */ (mark).points[0]);
  };
  return h("div", {class: "finding"}, h("div", {class: "row between"}, h("span", {class: "row"}, swatch(colour ?? [255, 255, 255]),
    check(group.length > 1 ? `${name}, ${group.length} ${kind === "box" ? "boxes" : "marks"}` : name, group[0].visible !== false, (checked) => {
      for (const mark of group) mark.visible = checked;
      desk.draw();
    })), button(group.length > 1 ? "Next" : "Go to", go, {class: "small", "aria-label": `Go to ${name}`})));
}

/** Free JSON of a model, as it is. @param {any} value @returns {Node | string} */
function facts(value) {
  if (Array.isArray(value)) return h("ul", {}, ...value.map((each) => h("li", {}, facts(each))));
  if (value && typeof value === "object") return h("dl", {}, ...Object.entries(value).flatMap(([name, each]) => [h("dt", {}, name), h("dd", {}, facts(each))]));
  return String(value ?? "—");
}

/** @param {Desk} desk @param {{name: string, kind: string, bytes: Uint8Array}} object */
function objectRow(desk, {name, kind, bytes}) {
  const blob = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)], {type: "application/dicom"});
  const show = async () => {
    try {
      const {bytes: sent} = await desk.api.send("ui/pictures", {method: "POST", body: blob, headers: {"Content-Type": "application/dicom"}});
      const all = desk.study?.series ?? [];
      const picture = parsePicture(sent);
      const known = all.find(({uid}) => uid === picture.header.series_instance_uid);
      desk.show(known ?? collect(all, picture));
    } catch (error) {
      fail(error);
    }
  };
  return h("div", {class: "row between finding"}, h("span", {}, name, " ", h("span", {class: "faint"}, kind.replaceAll("_", " "))),
    h("span", {class: "row"}, kind === "dicom_secondary_capture" && button("Show", show, {class: "small"}), button(".dcm", () => save(blob, `${fileName(name)}.dcm`), {class: "small", "aria-label": `Save ${name} as DICOM`})));
}

/** One file, or one for each mask in an archive: several masks with shades are no labels (docs/nifti.md). @param {GridFinding[]} grids */
const niftiOf = (grids) => (grids.length > 1 && grids.some(({kind}) => kind === "probability" || kind === "heatmap") ? "application/zip; masks=nifti" : "application/x-nifti");

/** @param {Result} result @param {GridFinding[]} grids */
function filesRow({answer}, grids) {
  const stem = fileName(`${answer.model}-${answer.id}`);
  const form = (/** @type {string} */ text, /** @type {string} */ accept) => answer.again && button(text, (event) => {
    const pressed = /** @type {HTMLButtonElement} */ (event.currentTarget);
    pressed.disabled = true;
    saveAs(answer, accept, stem).catch(fail).finally(() => (pressed.disabled = false));
  }, {class: "small"});
  return h("div", {class: "row files", role: "group", "aria-label": "Files of this answer"}, h("span", {class: "faint"}, "Save"),
    ...grids.map((finding) => button(`${finding.name}.npy`, () => saveMask(finding), {class: "small"})),
    button("JSON", () => saveJSON(answer), {class: "small"}), form("DICOM", "application/dicom"), grids.length > 0 && form("NIfTI", niftiOf(grids)), form("ZIP", "application/zip"), form("Sheet", "image/png"),
    answer.receipt && button("Receipt", () => saveReceipt(answer), {class: "small"}));
}

/** @param {Result} result */
function provenance({answer}) {
  const [input, output] = answer.hashes.split(":");
  return h("details", {class: "provenance"}, h("summary", {class: "faint"}, `${answer.time.toLocaleTimeString()} · ${answer.seconds.toFixed(1)} s`), requestId(answer.requestId),
    h("dl", {}, h("dt", {}, "Digest of the input"), h("dd", {}, h("code", {}, input ?? "")), h("dt", {}, "Digest of the answer"), h("dd", {}, h("code", {}, output ?? ""))));
}
