// Outlines of regions along the edges of their voxels, computed once for each plane.

/** @typedef {{region: number, edges: Int32Array}} Outline edges are x0, y0, x1, y1 in voxels from the corner */

/** Edges of all outlines in memory; the plane used longest ago leaves first. About 16 MiB. */
const MOST_EDGES = 1_000_000;

/**
 * Return the outlines of each region of a plane, runs of edges joined.
 * @param {ArrayLike<number>} values (height, width) in C order
 * @param {number} width
 * @param {(value: number) => number} region the number of a value's region, 0 for none
 * @returns {Outline[]}
 */
export function outlinesOf(values, width, region) {
  const height = values.length / width;
  const stride = width + 2;
  const padded = framed(values, width, region);
  if (!padded) return [];
  /** @type {Map<number, number[]>} */
  const found = new Map();
  const add = (/** @type {number} */ number, /** @type {number[]} */ edge) => {
    const edges = found.get(number);
    if (edges) edges.push(...edge);
    else if (number) found.set(number, edge);
  };
  for (let y = 0; y <= height; y++) {
    runs({regions: padded, start: (y + 1) * stride + 1, step: 1, across: stride, length: width}, (number, from, to) =>
      add(number, [from, y, to, y]));
  }
  for (let x = 0; x <= width; x++) {
    runs({regions: padded, start: stride + x + 1, step: stride, across: 1, length: height}, (number, from, to) =>
      add(number, [x, from, x, to]));
  }
  return [...found].map(([number, edges]) => ({region: number, edges: Int32Array.from(edges)}));
}

/**
 * The region of each value within a frame of zeros; null where all are 0.
 * @param {ArrayLike<number>} values
 * @param {number} width
 * @param {(value: number) => number} region
 * @returns {Uint16Array | null}
 */
function framed(values, width, region) {
  const height = values.length / width;
  const out = new Uint16Array((width + 2) * (height + 2));
  let any = 0;
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0, to = (y + 1) * (width + 2) + 1; x < width; x++, from++, to++) any |= out[to] = region(values[from]);
  }
  return any ? out : null;
}

/**
 * Call `add` for each run of edges along one line, for the region on either side.
 * @param {{regions: Uint16Array, start: number, step: number, across: number, length: number}} line `start` is the first
 *   voxel after the line, `across` the way back to the voxel before it
 * @param {(region: number, from: number, to: number) => void} add
 */
function runs({regions, start, step, across, length}, add) {
  let [begun, before, after] = [0, 0, 0];
  for (let place = 0, at = start; place <= length; place++, at += step) {
    const a = place < length ? regions[at - across] : 0;
    const b = place < length ? regions[at] : 0;
    if (a === before && b === after) continue;
    if (before !== after) {
      if (before) add(before, begun, place);
      if (after) add(after, begun, place);
    }
    [begun, before, after] = [place, a, b];
  }
}

/** Outlines by the data that they are of and a key, at most `MOST_EDGES` of them. */
export class OutlineCache {
  /** @type {Map<string, Outline[]>} */
  #found = new Map();
  /** @type {WeakMap<object, number>} */
  #numbers = new WeakMap();
  #last = 0;
  #edges = 0;

  /**
   * @param {object} data
   * @param {string} key
   * @param {() => Outline[]} compute
   * @returns {Outline[]}
   */
  get(data, key, compute) {
    const number = this.#numbers.get(data) ?? ++this.#last;
    this.#numbers.set(data, number);
    const whole = `${number}:${key}`;
    const outlines = this.#found.get(whole) ?? compute();
    if (!this.#found.delete(whole)) this.#edges += sizeOf(outlines);
    this.#found.set(whole, outlines);
    for (const [oldest, old] of this.#found) {
      if (this.#edges <= MOST_EDGES || oldest === whole) break;
      this.#found.delete(oldest);
      this.#edges -= sizeOf(old);
    }
    return outlines;
  }

  clear() {
    this.#found.clear();
    this.#edges = 0;
  }
}

/** @param {Outline[]} outlines @returns {number} edges, and one for an empty plane */
const sizeOf = (outlines) => 1 + outlines.reduce((sum, {edges}) => sum + edges.length / 4, 0);
