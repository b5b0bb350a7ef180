// Lengths that a person measures between two places of one plane.
import {minus, norm, toPatient} from "./geometry.js";

/** @typedef {import("./series.js").Series} Series */

/**
 * @typedef {object} Length
 * @property {number} axis the index axis across the plane on which it was measured
 * @property {number[][]} points its two ends, (slice, row, column) in fractions of voxels
 */

/**
 * What a length of projection images is that says where it holds, by the kind of their spacing (PS3.3 10.7.1.3).
 * @type {Record<string, string>}
 */
const WHERE = {detector: " at the detector", calibrated: " (calibrated)", unknown: " (magnification not stated)"};

/**
 * The distance of two places: mm along the axes of the patient, also where these are sheared or pixels are not square.
 * @param {Series} series
 * @param {number[]} from (slice, row, column)
 * @param {number[]} to
 * @returns {number | null} null where the size of a pixel is unknown
 */
export function millimetres(series, from, to) {
  const {affine, spacing} = series;
  if (affine) return norm(minus(toPatient(affine, to), toPatient(affine, from)));
  return spacing && norm(minus(to, from).map((steps, axis) => steps * spacing[axis]));
}

/** A length in words. @param {Series} series @param {Length} length @returns {string} */
export function lengthWords(series, {points: [from, to]}) {
  const mm = millimetres(series, from, to);
  if (mm === null) return `${norm(minus(to, from)).toFixed(1)} pixels`;
  return `${mm.toFixed(mm < 10 ? 2 : 1)} mm${WHERE[series.header.spacing_at ?? ""] ?? ""}`;
}
