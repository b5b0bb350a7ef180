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
 * Paint heatmaps, each over the ones before it.
 * @param {[GridOverlay, Values][]} planes values of one plane
 * @param {Uint32Array} out packed colours that are not premultiplied
 */
export function paintHeatmaps(planes, out) {
  out.fill(0);
  for (const [overlay, values] of planes) paintHeat(overlay, values, out);
}

/**
 * Paint regions, the smaller over the larger, as in the gateway's own pictures: a pixel has the tint of one region
 * alone, since two mixed are a colour of no legend.
 * @param {[GridOverlay, Values][]} planes values of one plane
 * @param {Uint32Array} out packed colours that are not premultiplied
 */
export function paintRegions(planes, out) {
  out.fill(0);
  const filled = planes.filter(([{opacity = FILL}]) => Math.round(opacity * 255) > 0);
  const covered = filled.length > 1 ? new Uint32Array(out.length).fill(~0) : null;
  for (const [overlay, values] of filled) fillRegions(overlay, values, out, covered);
}

/**
 * @param {GridOverlay} overlay
 * @param {Values} values
 * @param {Uint32Array} out
 * @param {Uint32Array | null} covered the size of the region that each pixel has; null for a single overlay
 */
function fillRegions(overlay, values, out, covered) {
  const regions = regionsOf(overlay);
  if (!regions) return;
  const {region, tint} = regions;
  const alpha = Math.round((overlay.opacity ?? FILL) * 255);
  const whole = values instanceof Float32Array ? Uint8Array.from(values, (value) => region(value)) : values;
  const numbers = Uint32Array.from({length: whole.BYTES_PER_ELEMENT === 1 ? 256 : 65536}, (_, value) => (whole === values ? region(value) : value));
  const colours = numbers.map((number) => (number ? pack(tint(number), alpha) : 0));
  const sizes = covered && sizesOf(whole, numbers);
  for (let at = 0; at < whole.length; at++) {
    const value = whole[at];
    const colour = colours[value];
    if (!colour) continue;
    if (covered && sizes) {
      if (sizes[value] > covered[at]) continue;
      covered[at] = sizes[value];
    }
    out[at] = colour;
  }
}

/**
 * The pixels of the region that each value belongs to.
 * @param {Exclude<Values, Float32Array>} values
 * @param {Uint32Array} numbers the region of each value
 */
function sizesOf(values, numbers) {
  const counts = new Uint32Array(numbers.length);
  for (let at = 0; at < values.length; at++) counts[numbers[values[at]]]++;
  return numbers.map((number) => counts[number]);
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
    if (colour >>> 24) out[at] = out[at] ? over(colour, out[at]) : colour;
  }
}

/** A packed colour over another (Porter and Duff's "over"). @param {number} top @param {number} under @returns {number} */
function over(top, under) {
  const part = (top >>> 24) / 255, rest = ((under >>> 24) / 255) * (1 - part), alpha = part + rest;
  const mix = (/** @type {number} */ shift) => Math.round((((top >>> shift) & 255) * part + ((under >>> shift) & 255) * rest) / alpha);
  return pack([mix(0), mix(8), mix(16)], Math.round(alpha * 255));
}

/** @param {number} colour @param {number} opacity @returns {number} */
const fade = (colour, opacity) => ((Math.round((colour >>> 24) * opacity) << 24) | (colour & 0xffffff)) >>> 0;
