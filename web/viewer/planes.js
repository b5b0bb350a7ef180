// The index planes of a volume: how each lies on the screen, and its values.
import {column, letters, nearestAxes, times} from "./geometry.js";

/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./series.js").Series} Series */

/**
 * A way along the screen: an index axis (0 slice, 1 row, 2 column), and whether it runs backwards.
 * @typedef {{axis: number, flipped: boolean}} Way
 */

/**
 * @typedef {object} Plane
 * @property {PlaneName | ""} name the plane of the patient that is nearest; empty where it is unknown
 * @property {number} axis the index axis across the plane
 * @property {Way} right
 * @property {Way} down
 * @property {number} width in voxels
 * @property {number} height in voxels
 * @property {number} count of planes
 * @property {number} pixelWidth mm, or of any unit
 * @property {number} pixelHeight mm, or of the same unit
 * @property {boolean} measured true if these are mm
 * @property {{left: string, right: string, top: string, bottom: string}} letters of the sides
 */

/** For each axis of the patient across a plane: its name, and the axes to the right and down with their signs. */
const SCREEN = /** @type {const} */ ([
  {name: "sagittal", right: {along: 1, sign: 1}, down: {along: 2, sign: -1}},
  {name: "coronal", right: {along: 0, sign: 1}, down: {along: 2, sign: -1}},
  {name: "axial", right: {along: 0, sign: 1}, down: {along: 1, sign: 1}},
]);

/** @param {Series} series @returns {Plane} the slices as they were stored: never turned or mirrored */
export function ownPlane(series) {
  return describe(series, 0, {axis: 2, flipped: false}, {axis: 1, flipped: false});
}

/**
 * The three planes of a volume: its own as stored, the others as a reader expects them, head up and left at the right.
 * @param {Series} series
 * @returns {Plane[]} axial, coronal, sagittal; its own alone where it is no volume
 */
export function planesOf(series) {
  const {affine} = series;
  if (!series.volumetric || !affine) return [ownPlane(series)];
  const axes = nearestAxes(affine);
  const way = (/** @type {{along: number, sign: number}} */ {along, sign}) => {
    const axis = axes[along];
    return {axis, flipped: column(affine, axis)[along] * sign < 0};
  };
  return [2, 1, 0].map((along) => {
    const {right, down} = SCREEN[along];
    return axes[along] === 0 ? ownPlane(series) : describe(series, axes[along], way(right), way(down));
  });
}

/** @param {Series} series @param {number} axis @param {Way} right @param {Way} down @returns {Plane} */
function describe(series, axis, right, down) {
  const {affine, shape, spacing} = series;
  const direction = (/** @type {Way} */ way, /** @type {number} */ sign) =>
    affine ? letters(times(column(affine, way.axis), way.flipped ? -sign : sign)) : "";
  const size = spacing ?? [1, ...(series.header.aspect ?? [1, 1])];
  const along = affine ? nearestAxes(affine).indexOf(axis) : -1;
  return {
    name: along < 0 ? "" : SCREEN[along].name,
    axis,
    right,
    down,
    width: shape[right.axis],
    height: shape[down.axis],
    count: shape[axis],
    pixelWidth: size[right.axis],
    pixelHeight: size[down.axis],
    measured: !!spacing,
    letters: {left: direction(right, -1), right: direction(right, 1), top: direction(down, -1), bottom: direction(down, 1)},
  };
}

/**
 * @param {Plane} plane
 * @param {number[]} voxel (slice, row, column), fractions allowed
 * @returns {[number, number]} its place on the plane in voxels from the left and from the top; (0, 0) is the first centre
 */
export function toPlane(plane, voxel) {
  const place = (/** @type {Way} */ {axis, flipped}, /** @type {number} */ size) =>
    flipped ? size - 1 - voxel[axis] : voxel[axis];
  return [place(plane.right, plane.width), place(plane.down, plane.height)];
}

/**
 * @param {Plane} plane
 * @param {number} x voxels from the left, as of `toPlane`
 * @param {number} y voxels from the top
 * @param {number} index of the plane
 * @returns {number[]} (slice, row, column)
 */
export function toVoxel(plane, x, y, index) {
  const voxel = [0, 0, 0];
  voxel[plane.axis] = index;
  voxel[plane.right.axis] = plane.right.flipped ? plane.width - 1 - x : x;
  voxel[plane.down.axis] = plane.down.flipped ? plane.height - 1 - y : y;
  return voxel;
}

/**
 * Return the values of a grid on one plane, (height, width) in C order.
 * @template {{[index: number]: number, length: number, fill: Function}} Values
 * @param {{shape: number[], offset?: number[], slice: (index: number) => Values}} grid `offset` is its first voxel's place
 * @param {Plane} plane
 * @param {number} index of the plane
 * @param {() => Values} room makes an array of height x width, filled by zeros
 * @returns {Values | null} null where the grid does not reach
 */
export function cut(grid, plane, index, room) {
  const offset = grid.offset ?? [0, 0, 0];
  const [slices, rows, columns] = grid.shape;
  const local = index - offset[plane.axis];
  if (local < 0 || local >= grid.shape[plane.axis]) return null;
  if (plane.axis === 0 && rows === plane.height && columns === plane.width) return grid.slice(local);
  const out = room();
  const {start, steps} = strides(plane, offset);
  const first = [0, 0, 0];
  const end = [slices, rows, columns];
  first[plane.axis] = local;
  end[plane.axis] = local + 1;
  for (let s = first[0]; s < end[0]; s++) {
    const values = grid.slice(s);
    for (let r = first[1]; r < end[1]; r++) {
      let to = start + s * steps[0] + r * steps[1] + first[2] * steps[2];
      for (let from = r * columns + first[2]; from < r * columns + end[2]; from++, to += steps[2]) out[to] = values[from];
    }
  }
  return out;
}

/**
 * Where voxel (0, 0, 0) of a grid lies in a plane's array, and the way to the next along each index axis; none along the
 * axis across, whose place is fixed.
 * @param {Plane} plane
 * @param {number[]} offset
 */
function strides(plane, offset) {
  const steps = [0, 0, 0];
  steps[plane.right.axis] = plane.right.flipped ? -1 : 1;
  steps[plane.down.axis] = plane.down.flipped ? -plane.width : plane.width;
  const origin = (plane.right.flipped ? plane.width - 1 : 0) + (plane.down.flipped ? plane.height - 1 : 0) * plane.width;
  return {start: origin + offset.reduce((sum, place, axis) => sum + place * steps[axis], 0), steps};
}

/** mm of the plane. @param {Plane} plane @returns {[number, number]} width, height */
export const extent = (plane) => [plane.width * plane.pixelWidth, plane.height * plane.pixelHeight];

