// What an answer shows: masks on their series, boxes and lengths on their images, labels, pictures and objects (docs/contract.md).
import {colourOf} from "../viewer/palettes.js";
import {voxelOf} from "./places.js";
import {sliceOf} from "./study.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Finding} Finding */
/** @typedef {import("./types.js").GridFinding} GridFinding */
/** @typedef {import("./types.js").Reading} Reading */
/** @typedef {import("../viewer/series.js").Series} Series */
/** @typedef {Record<string, any>} Words */

const MASKS = new Set(["probability_mask", "boolean_mask", "numeric_label_mask", "heatmap"]);
const THRESHOLD = 0.5;
/** As in the gateway's own pictures. */
const FILL = 0.35;

/**
 * Place the findings of an answer on the series that are open.
 * @param {Answer} answer @param {Series[]} all @param {number} first index of the first colour, so that answers differ @returns {Reading}
 */
export function read(answer, all, first = 0) {
  const {document} = answer;
  /** @type {Reading} */
  const reading = {findings: [], facts: [], objects: [], notes: []};
  const masks = new Masks(answer, all, first);
  (document.parts ?? []).forEach((/** @type {Words} */ part, /** @type {number} */ at) => {
    const bytes = answer.parts[at]?.bytes ?? new Uint8Array();
    if (MASKS.has(part.binary_type)) masks.add(part, bytes, reading);
    else reading.objects.push({name: String(part.label ?? part.binary_type), kind: part.binary_type, bytes});
    for (const {description, compliant} of part.dicomConformance?.recommended ?? []) if (!compliant) reading.notes.push(String(description));
  });
  reading.findings.push(...masks.findings);
  const colour = colourOf(first + masks.findings.length);
  (document.bounding_boxes_2d ?? []).forEach((/** @type {Words} */ box, /** @type {number} */ at) => add(reading, boxOf(box, all, `${answer.id}-box-${at}`, colour), "A box"));
  (document.linear_measurements_2d ?? []).forEach((/** @type {Words} */ line, /** @type {number} */ at) => add(reading, lineOf(line, all, `${answer.id}-line-${at}`), "A measurement"));
  if (document.study_ml_json) reading.facts.push({title: "Study", value: document.study_ml_json});
  for (const [uid, value] of Object.entries(document.series_ml_json ?? {})) {
    reading.facts.push({title: all.find((series) => series.uid === uid)?.description || "Series", value});
  }
  return reading;
}

/** @param {Reading} reading @param {Finding | null} finding @param {string} what */
function add(reading, finding, what) {
  if (finding) reading.findings.push(finding);
  else reading.notes.push(`${what} lies on an image that is not open.`);
}

/** Masks of an answer; those of single images with one label are one finding over their series. */
class Masks {
  /** @type {GridFinding[]} */
  findings = [];
  /** @type {Map<string, GridFinding>} */
  #together = new Map();

  /** @param {Answer} answer @param {Series[]} all @param {number} first */
  constructor(answer, all, first) {
    this.answer = answer;
    this.all = all;
    this.first = first;
  }

  /** @param {Words} part @param {Uint8Array} bytes @param {Reading} reading */
  add(part, bytes, reading) {
    const {depth = 1, timepoints = 1, height, width} = part.binary_data_shape;
    const planes = depth * timepoints;
    const series = part.dicom_image ? this.#ofImage(part.dicom_image) : this.#ofSeries(part.SeriesInstanceUID, planes, depth, height, width);
    if (!series) {
      reading.notes.push(`${part.label ?? "A mask"} (${planes} × ${height} × ${width}) lies on no series that is open.`);
      return;
    }
    const [slices, rows, columns] = series.shape;
    const data = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const whole = {data: data.subarray(0, slices * rows * columns), shape: [slices, rows, columns]};
    if (!part.dicom_image && data.length >= whole.data.length) {
      this.findings.push(this.#finding(part, series, whole));
      return;
    }
    if (rows !== height || columns !== width) {
      reading.notes.push(`${part.label ?? "A mask"} has ${height} × ${width} pixels, and its image ${rows} × ${columns}.`);
      return;
    }
    const begin = Math.max(0, sliceOf(series, part.dicom_image?.SOPInstanceUID, Math.max(0, (part.dicom_image?.frame_number ?? 1) - 1)));
    const key = JSON.stringify([series.uid, part.binary_type, part.label, part.palette, part.label_map]);
    let finding = this.#together.get(key);
    if (!finding) {
      finding = this.#finding(part, series, {data: new Uint8Array(slices * rows * columns), shape: [slices, rows, columns]});
      this.#together.set(key, finding);
      this.findings.push(finding);
    }
    /** @type {Uint8Array} */ (finding.data).set(data.subarray(0, (slices - begin) * rows * columns), begin * rows * columns);
  }

  /** @param {Words} image */
  #ofImage({SOPInstanceUID}) {
    return this.all.find((series) => sliceOf(series, SOPInstanceUID, 0) >= 0);
  }

  /** The series that is named, else the first that it fits, as the gateway's own pictures have it. @param {string | undefined} uid @param {number} planes @param {number} depth @param {number} height @param {number} width */
  #ofSeries(uid, planes, depth, height, width) {
    return this.all.find(({uid: own, shape: [slices, rows, columns]}) => (!uid || own === uid) && (slices === planes || slices === depth) && rows === height && columns === width);
  }

  /** @param {Words} part @param {Series} series @param {{data: Uint8Array, shape: number[]}} grid @returns {GridFinding} */
  #finding(part, series, grid) {
    const index = this.findings.length;
    const common = {
      ...grid, id: `${this.answer.id}-${index}`, group: this.answer.id, series: series.uid, name: String(part.label ?? "Mask"),
      visible: true, colour: colourOf(this.first + index), opacity: FILL, outline: true,
    };
    if (part.binary_type === "probability_mask") return {...common, kind: "probability", threshold: part.probability_threshold ?? THRESHOLD};
    if (part.binary_type === "heatmap") return {...common, kind: "heatmap", palette: anchors(this.answer.document.palettes?.[part.palette]), opacity: 1, outline: false};
    if (part.binary_type !== "numeric_label_mask") return {...common, kind: "mask"};
    const labels = new Map(Object.entries(part.label_map ?? {}).map(([value, name]) => [Number(value), String(name)]));
    const palette = Object.fromEntries([...labels.keys()].map((value, at) => [value, colourOf(this.first + index + at)]));
    return {...common, kind: "labels", labels, palette, hidden: []};
  }
}

/** @param {Words | undefined} palette @returns {import("../viewer/palettes.js").Anchors | null} */
function anchors(palette) {
  const points = palette?.data;
  return Array.isArray(points) ? points.map(({threshold, color}) => [Number(threshold), color.map(Number)]) : null;
}

/** The series and the slice of an image. @param {Series[]} all @param {string} uid @param {number | undefined} frame from 1 @returns {[Series, number] | null} */
function placeOf(all, uid, frame) {
  for (const series of all) {
    const slice = sliceOf(series, uid, Math.max(0, (frame ?? 1) - 1));
    if (slice >= 0) return [series, slice];
  }
  return null;
}

/** @param {Words} box @param {Series[]} all @param {string} id @param {number[]} colour @returns {Finding | null} */
function boxOf({label, SOPInstanceUID, frame_number: frame, top_left: [left, top], bottom_right: [right, bottom]}, all, id, colour) {
  const place = placeOf(all, SOPInstanceUID, frame);
  if (!place) return null;
  const [series, slice] = place;
  const name = String(label ?? "Box");
  return {id, group: "", series: series.uid, name, text: name, kind: "box", visible: true, colour, from: [slice, top, left], to: [slice, bottom, right]};
}

/** @param {Words} line @param {Series[]} all @param {string} id @returns {Finding | null} */
function lineOf({label, SOPInstanceUID, frame_number: frame, coordinates_type: kind, start, end}, all, id) {
  const place = SOPInstanceUID ? placeOf(all, SOPInstanceUID, frame) : all.length ? [all[0], 0] : null;
  if (!place) return null;
  const [series, slice] = /** @type {[Series, number]} */ (place);
  const world = kind === "world" && start.length === 3 && end.length === 3;
  const points = world ? [start, end].map((point) => voxelOf(series, point)) : [start, end].map(([x, y]) => [slice, y, x]);
  if (points.some((point) => point === null)) return null;
  const [from, to] = /** @type {number[][]} */ (points);
  const spacing = series.spacing;
  const length = spacing ? Math.hypot(...[0, 1, 2].map((axis) => (to[axis] - from[axis]) * spacing[axis])) : null;
  const name = String(label ?? "Length");
  const text = length === null ? name : `${name}: ${length.toFixed(1)} mm`;
  return {id, group: "", series: series.uid, name: text, text, kind: "mark", symbol: "line", visible: true, colour: colourOf(2), points: [from, to]};
}
