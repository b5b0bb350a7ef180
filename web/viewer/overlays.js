// Findings over pictures: what each value of a mask looks like, and the painting of one plane.
import {colourOf, pack, rampOf} from "./palettes.js";
import {cut} from "./planes.js";

/** @typedef {import("./palettes.js").Colour} Colour */
/** @typedef {import("./planes.js").Plane} Plane */
/** @typedef {Uint8Array | Uint8ClampedArray | Uint16Array | Float32Array} Values */

/**
 * @typedef {object} Common
 * @property {string} id
 * @property {string} name
 * @property {boolean} [visible] true if absent
 * @property {Colour} [colour] red, green, blue of 0 to 255
 */

/**
 * A mask on the grid of the series, or on a part of it that begins at `offset`. Another `data` object means another
 * mask; after a change within `data` call `refresh` of the viewer.
 * @typedef {object} Grid
 * @property {Values} data (slice, row, column) in C order
 * @property {number[]} shape (slices, rows, columns)
 * @property {number[]} [offset] (slice, row, column) of its first voxel; 0 if absent
 * @property {number} [opacity] of the fill, 0 to 1; 0.35 if absent
 * @property {boolean} [outline] true if absent
 */

/** @typedef {Common & Grid & {kind: "mask"}} MaskOverlay a region where `data` is above 0 */
/** @typedef {Common & Grid & {kind: "labels", palette?: Record<number, Colour>, hidden?: number[]}} LabelOverlay */
/** @typedef {Common & Grid & {kind: "probability", threshold: number}} ProbabilityOverlay uint8 for 0 to 1, or floats */
/**
 * @typedef {Common & Grid & {kind: "heatmap", palette?: import("./palettes.js").Anchors | null, range?: number[]}}
 *   HeatmapOverlay uint8 for 0 to 1, or floats; `range` is the part of 0 to 1 that the palette covers
 */
/** @typedef {Common & {kind: "box", from: number[], to: number[], text?: string}} BoxOverlay centres of its corner voxels */
/**
 * @typedef {Common & {kind: "mark", points: number[][], closed?: boolean, text?: string,
 *   symbol?: "dot" | "plus" | "minus" | "line"}} MarkOverlay voxels, fractions allowed; a line joins its points
 */
/** @typedef {MaskOverlay | LabelOverlay | ProbabilityOverlay | HeatmapOverlay} GridOverlay */
/** @typedef {GridOverlay | BoxOverlay | MarkOverlay} Overlay */

/** Opacity of a fill where none is stated, as in the gateway's own pictures. */
const FILL = 0.35;

/** @param {Overlay} overlay @returns {overlay is GridOverlay} */
export const isGrid = (overlay) => "data" in overlay;

/** @param {Overlay} overlay */
export const isVisible = (overlay) => overlay.visible !== false;

/**
 * Return what is wrong with an overlay on a series, in words; empty if nothing is.
 * @param {Overlay} overlay
 * @param {number[]} shape of the series
 * @returns {string}
 */
export function misfit(overlay, shape) {
  if (!isGrid(overlay)) return "";
  const offset = overlay.offset ?? [0, 0, 0];
  const count = overlay.shape.reduce((product, side) => product * side, 1);
  if (overlay.shape.length !== 3 || overlay.data.length !== count) return "Its data are not of its shape.";
  const inside = shape.every((side, axis) => offset[axis] >= 0 && offset[axis] + overlay.shape[axis] <= side);
  return inside ? "" : "It reaches beyond the series.";
}

/**
 * Return the values of an overlay on one plane; null where it has none.
 * @param {GridOverlay} overlay
 * @param {Plane} plane
 * @param {number} index
 * @returns {Values | null}
 */
export function valuesOn(overlay, plane, index) {
  const {data, shape, offset} = overlay;
  const size = shape[1] * shape[2];
  const type = /** @type {new (length: number) => Values} */ (data.constructor);
  const slice = (/** @type {number} */ s) => /** @type {Values} */ (data.subarray(s * size, (s + 1) * size));
  return cut({shape, offset, slice}, plane, index, () => new type(plane.width * plane.height));
}

/**
 * The regions of an overlay: a function from a value to the number of its region, 0 for none, and the colour of each.
 * @param {GridOverlay} overlay
 * @returns {{region: (value: number) => number, tint: (region: number) => Colour, key: string} | null} null for a heatmap
 */
export function regionsOf(overlay) {
  const {colour = colourOf(0)} = overlay;
  if (overlay.kind === "heatmap") return null;
  if (overlay.kind === "labels") {
    const hidden = new Set(overlay.hidden);
    const {palette} = overlay;
    return {
      region: hidden.size ? (value) => (hidden.has(value) ? 0 : value) : (value) => value,
      tint: (region) => palette?.[region] ?? colourOf(region - 1),
      key: [...hidden].join(),
    };
  }
  const above = overlay.kind === "probability" ? overlay.threshold * scaleOf(overlay) : 0;
  return {region: (value) => (value > above ? 1 : 0), tint: () => colour, key: String(above)};
}

/** The value that stands for 1. @param {GridOverlay} overlay */
const scaleOf = (overlay) => (overlay.data instanceof Float32Array ? 1 : 255);

/**
 * Paint an overlay's values over what is in `out`, packed colours that are not premultiplied.
 * @param {GridOverlay} overlay
 * @param {Values} values of one plane
 * @param {Uint32Array} out
 */
export function paint(overlay, values, out) {
  const alpha = Math.round((overlay.opacity ?? FILL) * 255);
  const regions = regionsOf(overlay);
  if (!regions) return paintHeat(overlay, values, out);
  if (!alpha) return;
  if (values instanceof Float32Array) {
    const colour = pack(regions.tint(1), alpha);
    for (let at = 0; at < values.length; at++) if (regions.region(values[at])) out[at] = colour;
    return;
  }
  const table = tableOf(regions, values.BYTES_PER_ELEMENT === 1 ? 256 : 65536, alpha);
  for (let at = 0; at < values.length; at++) {
    const colour = table[values[at]];
    if (colour) out[at] = colour;
  }
}

/**
 * The packed colour of each value; a pixel has the tint of one region alone, since two mixed are a colour of no legend.
 * @param {NonNullable<ReturnType<typeof regionsOf>>} regions
 * @param {number} size
 * @param {number} alpha
 */
function tableOf({region, tint}, size, alpha) {
  return Uint32Array.from({length: size}, (_, value) => {
    const found = region(value);
    return found ? pack(tint(found), alpha) : 0;
  });
}

/** @param {GridOverlay} overlay @param {Values} values @param {Uint32Array} out */
function paintHeat(overlay, values, out) {
  if (overlay.kind !== "heatmap") return;
  const {range: [low, high] = [0, 1], opacity = 1} = overlay;
  const ramp = rampOf(overlay.palette).map((colour) => fade(colour, opacity));
  const factor = 255 / ((high - low) * scaleOf(overlay));
  const floor = low * scaleOf(overlay);
  for (let at = 0; at < values.length; at++) {
    const place = (values[at] - floor) * factor;
    const colour = ramp[place > 0 ? Math.min(255, Math.round(place)) : 0];
    if (colour >>> 24) out[at] = colour;
  }
}

/** @param {number} colour @param {number} opacity @returns {number} */
const fade = (colour, opacity) => ((Math.round((colour >>> 24) * opacity) << 24) | (colour & 0xffffff)) >>> 0;
