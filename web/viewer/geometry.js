// The place of a voxel in the patient. Indices are (slice, row, column) of voxel centres; millimetres are LPS.

/** @typedef {number[]} Vector */
/** @typedef {number[]} Affine (4, 4) row major: (slice, row, column, 1) to (x, y, z, 1) mm LPS */
/** @typedef {"axial" | "coronal" | "sagittal"} PlaneName */

/** How far direction cosines may differ and still be of parallel slices, as in the gateway. */
const PARALLEL = 1e-3;

/** A slice may lie so far from an even grid: mm, and a part of the step. */
const EVEN_MM = 0.01;
const EVEN_RATIO = 0.01;

/** How far a slice may lie from the grid that fits best, as in the gateway: mm, and a part of the step. */
const GRID_MM = 0.3;
const GRID_RATIO = 0.1;

/** A gap of so many usual steps tells of missing slices. */
const MISSING_STEPS = 1.5;

/** A direction has a second or third letter if its cosine to that axis is at least this (about 17 degrees off). */
const OBLIQUE = 0.3;

/** @param {Vector} a @param {Vector} b @returns {number} */
export const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);

/** @param {Vector} a @returns {number} */
export const norm = (a) => Math.sqrt(dot(a, a));

/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const minus = (a, b) => a.map((value, index) => value - b[index]);

/** @param {Vector} a @param {number} factor @returns {Vector} */
export const times = (a, factor) => a.map((value) => value * factor);

/** The unit normal of a slice: row direction x column direction. @param {Vector} orientation @returns {Vector} */
export function normal(orientation) {
  const [a, b, c, d, e, f] = orientation;
  const across = [b * f - c * e, c * d - a * f, a * e - b * d];
  return times(across, 1 / norm(across));
}

/** @param {Vector | null} a @param {Vector | null} b @returns {boolean} */
export function parallel(a, b) {
  if (!a || !b) return a === b;
  return a.every((value, index) => Math.abs(value - b[index]) <= PARALLEL);
}

/** @param {Affine} affine @param {number} axis @returns {Vector} the step along an axis, mm */
export const column = (affine, axis) => [affine[axis], affine[4 + axis], affine[8 + axis]];

/** @param {Affine} affine @param {Vector} voxel @returns {Vector} mm LPS */
export function toPatient(affine, voxel) {
  const [s, r, c] = voxel;
  return [0, 4, 8].map((row) => affine[row] * s + affine[row + 1] * r + affine[row + 2] * c + affine[row + 3]);
}

/**
 * Return the affine of parallel slices from their places, as the gateway does: through the first and the last if they
 * are even, else the nearest even grid.
 * @param {Vector[]} positions in order along the normal
 * @param {Vector} orientation
 * @param {Vector} spacing between rows, between columns
 * @param {number} thickness the step of a single slice
 * @returns {Affine}
 */
export function affineOf(positions, orientation, spacing, thickness) {
  const across = normal(orientation);
  const {origin, step} = positions.length === 1
    ? {origin: positions[0], step: times(across, thickness)}
    : gridOf(positions, across);
  const down = times(orientation.slice(3), spacing[0]);
  const right = times(orientation.slice(0, 3), spacing[1]);
  return [...[0, 1, 2].flatMap((axis) => [step[axis], down[axis], right[axis], origin[axis]]), 0, 0, 0, 1];
}

/** @param {Vector[]} positions @param {Vector} across @returns {{origin: Vector, step: Vector}} */
function gridOf(positions, across) {
  const count = positions.length;
  const step = times(minus(positions[count - 1], positions[0]), 1 / (count - 1));
  if (unevenness(positions.map((place) => dot(place, across))).even) return {origin: positions[0], step};
  const middle = (count - 1) / 2;
  const weight = positions.reduce((sum, _, index) => sum + (index - middle) ** 2, 0);
  const fitted = [0, 1, 2].map((axis) =>
    positions.reduce((sum, place, index) => sum + (index - middle) * place[axis], 0) / weight);
  const mean = [0, 1, 2].map((axis) => positions.reduce((sum, place) => sum + place[axis], 0) / count);
  return {origin: minus(mean, times(fitted, middle)), step: fitted};
}

/**
 * @typedef {object} Steps
 * @property {boolean} even all steps are one
 * @property {boolean} gridded no slice is missing, repeated or far from an even grid
 * @property {number} smallest mm
 * @property {number} largest mm
 * @property {number} repeated slices at the place of the slice before
 * @property {number[]} missing indices of slices after a gap of 1.5 usual steps or more
 */

/** Describe the steps between heights along the normal. @param {number[]} heights ascending, mm @returns {Steps} */
export function unevenness(heights) {
  const steps = heights.slice(1).map((height, index) => height - heights[index]);
  const distinct = steps.filter((step) => step > EVEN_MM).sort((a, b) => a - b);
  const usual = distinct[(distinct.length - 1) >> 1] ?? 0;
  const mean = (heights[heights.length - 1] - heights[0]) / Math.max(1, steps.length);
  const drift = Math.max(...heights.map((height, index) => Math.abs(height - heights[0] - index * mean)));
  const even = drift <= Math.max(EVEN_MM, EVEN_RATIO * mean);
  const repeated = steps.filter((step) => step <= EVEN_MM).length;
  const missing = steps.flatMap((step, index) => (usual && step >= MISSING_STEPS * usual ? [index + 1] : []));
  const near = drift <= Math.max(EVEN_MM, Math.min(GRID_MM, GRID_RATIO * mean));
  return {
    even,
    gridded: (even || near) && !repeated && !missing.length,
    smallest: Math.min(...steps),
    largest: Math.max(...steps),
    repeated,
    missing,
  };
}

/**
 * Return the letters of a direction in the patient, the nearest axis first: L, R, A, P, H, F.
 * @param {Vector} direction LPS, any length
 * @returns {string}
 */
export function letters(direction) {
  const length = norm(direction);
  return direction
    .map((value, axis) => ({size: Math.abs(value) / length, letter: (value > 0 ? "LPH" : "RAF")[axis]}))
    .filter(({size}, _, all) => size >= OBLIQUE || size === Math.max(...all.map((one) => one.size)))
    .sort((a, b) => b.size - a.size)
    .map(({letter}) => letter)
    .join("");
}

const ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/**
 * Return the index axis (0 slice, 1 row, 2 column) that runs nearest to each axis of the patient.
 * @param {Affine} affine
 * @returns {number[]} the axis along x (left), y (back), z (head)
 */
export function nearestAxes(affine) {
  const cosines = [0, 1, 2].map((axis) => {
    const step = column(affine, axis);
    return step.map((value) => Math.abs(value) / (norm(step) || 1));
  });
  const fit = (/** @type {number[]} */ order) => order.reduce((sum, axis, along) => sum + cosines[axis][along], 0);
  return ORDERS.reduce((best, order) => (fit(order) > fit(best) + 1e-9 ? order : best));
}
