// Pictures as the gateway sends them: a JSON header and decoded pixels (docs/viewer.md).

/** @typedef {Int16Array | Uint16Array | Uint8Array | Float32Array} Pixels */

/**
 * @typedef {object} Window
 * @property {number} center in units of the picture
 * @property {number} width in units of the picture
 * @property {string} [name]
 * @property {"LINEAR" | "LINEAR_EXACT" | "SIGMOID"} [function] of PS3.3 C.11.2.1.2; LINEAR if absent
 */

/**
 * @typedef {object} Placed
 * @property {number[] | null} position of the first pixel's centre, (x, y, z) mm LPS
 * @property {number[] | null} orientation direction cosines of a row, then of a column
 */

/**
 * @typedef {object} Header
 * @property {"int16" | "uint16" | "uint8" | "float32"} dtype
 * @property {number[]} shape (frames, rows, columns), or with 3 samples at the end
 * @property {string} units
 * @property {string} study_instance_uid
 * @property {string} series_instance_uid
 * @property {string} sop_instance_uid
 * @property {number | null} series_number
 * @property {number | null} instance_number
 * @property {string} modality
 * @property {string} series_description
 * @property {string} [body_part]
 * @property {number[] | null} position as of Placed
 * @property {number[] | null} orientation as of Placed
 * @property {number[] | null} spacing mm between rows, between columns
 * @property {number[] | null} [aspect] height and width of a pixel in parts of each other, where its spacing is unknown
 * @property {"patient" | "detector" | "calibrated" | "unknown"} [spacing_at] where the spacing holds; all but the first of projections
 * @property {number | null} [thickness] mm
 * @property {string} [frame_of_reference_uid]
 * @property {Window[]} windows
 * @property {boolean} inverted true for MONOCHROME1: the smallest value is white
 * @property {Placed[]} [frames] the place of each frame of a multi-frame image
 * @property {string} [digest]
 */

/** @typedef {{header: Header, pixels: Pixels}} Picture */

const TYPES = {int16: Int16Array, uint16: Uint16Array, uint8: Uint8Array, float32: Float32Array};

/** Pixels begin at a multiple of this, so that they are read in place. */
const ALIGNMENT = 8;

/**
 * Return the picture in an answer of the gateway; its pixels are a view of `buffer`.
 * @param {ArrayBuffer} buffer
 * @returns {Picture}
 * @throws {RangeError} if the buffer is not a whole picture
 */
export function parsePicture(buffer) {
  if (buffer.byteLength < 4) throw new RangeError("A picture ends before its header.");
  const length = new DataView(buffer).getUint32(0, true);
  if (4 + length > buffer.byteLength) throw new RangeError("A picture ends within its header.");
  /** @type {Header} */
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const type = TYPES[header.dtype];
  if (!type) throw new RangeError("A picture has pixels of an unknown type.");
  const start = Math.ceil((4 + length) / ALIGNMENT) * ALIGNMENT;
  const count = header.shape.reduce((product, side) => product * side, 1);
  if (start + count * type.BYTES_PER_ELEMENT !== buffer.byteLength) {
    throw new RangeError("A picture has more or fewer pixels than its shape says.");
  }
  return {header, pixels: new type(buffer, start, count)};
}

/**
 * @param {Header} header
 * @returns {boolean} true for pixels of red, green and blue
 */
export const isColour = (header) => header.shape.length === 4;
