// Pictures of one series in the order of a volume, as they arrive.
import {affineOf, column, dot, norm, normal, parallel, unevenness} from "./geometry.js";
import {isColour} from "./pictures.js";

/** @typedef {import("./pictures.js").Header} Header */
/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {import("./pictures.js").Pixels} Pixels */

/**
 * @typedef {object} Slice
 * @property {Header} header of its picture
 * @property {Pixels} pixels (row, column[, sample]) in C order
 * @property {number} frame counted from 0
 * @property {number[] | null} position mm LPS
 * @property {number[] | null} orientation
 */

/** @typedef {{affine: import("./geometry.js").Affine | null, steps: import("./geometry.js").Steps | null}} Grid */

/** mm of a single slice that states no thickness, as in the gateway. */
const UNKNOWN_THICKNESS = 1;

/** What a careful reader should know of lengths in a projection (PS3.3 10.7.1.3). @type {Record<string, string[]>} */
const REMARKS = {
  detector: ["Lengths are those at the detector: in the patient they are shorter."],
  unknown: ["Lengths may be those at the detector: the file does not state the magnification."],
};

/** Slices of one size, kind and direction, from the first to the last along their normal. */
export class Series {
  /** @type {Slice[]} */
  slices = [];
  /** The type that holds the values of every slice. @type {new (length: number) => Pixels} */
  type = Float32Array;
  /** True while pictures are on their way: a gap may yet be filled, and nothing is remarked. */
  arriving = false;
  /** Changes whenever slices are added. */
  version = 0;
  /** What was computed for a version. @type {Grid & {version: number}} */
  #grid = {version: -1, affine: null, steps: null};

  /** @param {Iterable<Picture>} [pictures] */
  constructor(pictures = []) {
    for (const picture of pictures) this.add(picture);
  }

  /**
   * Add the frames of a picture in their places.
   * @param {Picture} picture
   * @returns {boolean} false, and nothing added, if it belongs to another series or has another size, kind or direction
   */
  add(picture) {
    if (!this.fits(picture.header)) return false;
    const type = /** @type {new (length: number) => Pixels} */ (picture.pixels.constructor);
    this.type = !this.slices.length || this.type === type ? type : Float32Array;
    const [frames, rows, columns] = picture.header.shape;
    const size = rows * columns * (isColour(picture.header) ? 3 : 1);
    for (let frame = 0; frame < frames; frame++) {
      const pixels = picture.pixels.subarray(frame * size, (frame + 1) * size);
      this.#insert({header: picture.header, pixels, frame, ...placeOf(picture.header, frame)});
    }
    this.version++;
    return true;
  }

  /** @param {Header} header @returns {boolean} true if its slices belong here */
  fits(header) {
    if (!this.slices.length) return true;
    const first = this.slices[0];
    const own = first.header;
    return header.series_instance_uid === own.series_instance_uid
      && String(header.shape.slice(1)) === String(own.shape.slice(1))
      && header.inverted === own.inverted
      && parallel(placeOf(header, 0).orientation, first.orientation);
  }

  /** @param {Slice} slice */
  #insert(slice) {
    const at = this.slices.findIndex((other) => compare(slice, other) < 0);
    this.slices.splice(at < 0 ? this.slices.length : at, 0, slice);
  }

  /** The header of the first slice. @returns {Header} */
  get header() {
    return this.slices[0].header;
  }

  get uid() {
    return this.header.series_instance_uid;
  }

  get description() {
    return this.header.series_description;
  }

  get modality() {
    return this.header.modality;
  }

  get units() {
    return this.header.units;
  }

  /** (slices, rows, columns). @returns {number[]} */
  get shape() {
    return [this.slices.length, ...this.header.shape.slice(1, 3)];
  }

  get colour() {
    return isColour(this.header);
  }

  get inverted() {
    return this.header.inverted;
  }

  /** The windows that the middle slice states. @returns {import("./pictures.js").Window[]} */
  get windows() {
    return this.slices[this.slices.length >> 1].header.windows.filter((window) => window.width > 0);
  }

  /** Slices that are here. @returns {number} */
  get loaded() {
    return this.slices.length;
  }

  /** The affine of all slices; null where a place or the spacing is unknown. */
  get affine() {
    return this.#measured.affine;
  }

  /** @returns {Grid} */
  get #measured() {
    if (this.#grid.version !== this.version) this.#grid = {version: this.version, ...gridOf(this.slices)};
    return this.#grid;
  }

  /** mm between slices, rows and columns; null where unknown. @returns {number[] | null} */
  get spacing() {
    const affine = this.affine;
    if (affine) return [0, 1, 2].map((axis) => norm(column(affine, axis)));
    const measured = this.header.spacing;
    return measured && [this.header.thickness || UNKNOWN_THICKNESS, ...measured];
  }

  /** True if the slices are one grid of grey voxels that other planes can cut. @returns {boolean} */
  get volumetric() {
    return !this.colour && !!this.#measured.steps?.gridded;
  }

  /** What a careful reader should know, a sentence each. @returns {string[]} */
  get remarks() {
    const {steps} = this.#measured;
    if (this.arriving) return [];
    if (!steps) return this.header.spacing ? REMARKS[this.header.spacing_at ?? ""] ?? [] : ["The size of a pixel in millimetres is unknown."];
    const found = [];
    if (steps.repeated) found.push(`${steps.repeated} slices lie where another lies.`);
    if (steps.missing.length) found.push(`Slices are missing: ${describe(steps)}.`);
    else if (!steps.even && !steps.repeated) found.push(`The slices are not evenly spaced: ${describe(steps)}.`);
    if (!steps.gridded) found.push("Other planes need slices on an even grid.");
    return found;
  }

  /** True if slices are missing between a slice and the one before. @param {number} slice @returns {boolean} */
  gapBefore(slice) {
    return !this.arriving && this.#measured.steps?.missing.includes(slice) === true;
  }

  /**
   * @param {number[]} voxel (slice, row, column)
   * @returns {number | number[] | null} its value in `units`, or red, green and blue; null outside
   */
  value([s, r, c]) {
    const [slices, rows, columns] = this.shape;
    if (s < 0 || r < 0 || c < 0 || s >= slices || r >= rows || c >= columns) return null;
    const {pixels} = this.slices[s];
    const at = r * columns + c;
    return this.colour ? Array.from(pixels.subarray(3 * at, 3 * at + 3)) : pixels[at];
  }
}

/**
 * Add a picture to the first series that it belongs to, else to a new one at the end.
 * @param {Series[]} all
 * @param {Picture} picture
 * @returns {Series} the series that has it
 */
export function collect(all, picture) {
  const found = all.find((series) => series.add(picture));
  if (found) return found;
  const series = new Series([picture]);
  all.push(series);
  return series;
}

/** @param {Slice[]} slices in their order @returns {Grid} */
function gridOf(slices) {
  const {orientation, header} = slices[0];
  const positions = slices.flatMap(({position}) => (position ? [position] : []));
  if (!orientation || !header.spacing || positions.length < slices.length) return {affine: null, steps: null};
  return {
    affine: affineOf(positions, orientation, header.spacing, header.thickness || UNKNOWN_THICKNESS),
    steps: slices.length < 2 ? null : unevenness(slices.map(heightOf)),
  };
}

/** @param {Header} header @param {number} frame */
function placeOf(header, frame) {
  const placed = header.frames?.[frame] ?? (header.shape[0] === 1 ? header : null);
  return {position: placed?.position ?? null, orientation: placed?.orientation ?? header.orientation ?? null};
}

/** @param {Slice} slice @returns {number} mm along the normal */
function heightOf({position, orientation}) {
  return position && orientation ? dot(position, normal(orientation)) : 0;
}

/** Order by place, then by number, then by frame. @param {Slice} a @param {Slice} b @returns {number} */
function compare(a, b) {
  return heightOf(a) - heightOf(b)
    || (a.header.instance_number ?? 0) - (b.header.instance_number ?? 0)
    || a.frame - b.frame;
}

/** @param {import("./geometry.js").Steps} steps @returns {string} */
const describe = ({smallest, largest}) =>
  `from one to the next it is ${smallest.toFixed(2)} to ${largest.toFixed(2)} mm`;
