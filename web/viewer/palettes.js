// The colours of findings, the same as in the gateway's own pictures (gateway/dicom/drawing/palettes.py).

/** @typedef {number[]} Colour red, green, blue of 0 to 255 */
/** @typedef {[number, number[]][]} Anchors places of 0 to 1 with red, green, blue, alpha of 0 to 255 */

/** Okabe and Ito (2008), which holds for the common kinds of colour blindness; bold ones first. @type {Colour[]} */
const CATEGORICAL = [
  [213, 94, 0],
  [86, 180, 233],
  [240, 228, 66],
  [0, 158, 115],
  [204, 121, 167],
  [230, 159, 0],
  [0, 114, 178],
];

/** Dark to bright in even steps of lightness, clear where there is nothing. @type {Anchors} */
const DEFAULT_HEAT = [
  [0.0, [0, 0, 4, 0]],
  [0.25, [87, 16, 110, 90]],
  [0.5, [188, 55, 84, 150]],
  [0.75, [249, 142, 9, 200]],
  [1.0, [252, 255, 164, 235]],
];

/** The colour of the category at `index`, from 0; beyond the table by the golden angle. @param {number} index @returns {Colour} */
export function colourOf(index) {
  return CATEGORICAL[index] ?? fromHue((index * 0.618034) % 1, 0.65, 0.95);
}

/** @param {number} hue @param {number} saturation @param {number} value all 0 to 1 @returns {Colour} */
function fromHue(hue, saturation, value) {
  return [5, 3, 1].map((shift) => {
    const place = (shift + hue * 6) % 6;
    return Math.round(255 * value * (1 - saturation * Math.max(0, Math.min(place, 4 - place, 1))));
  });
}

/** Pack a colour as a canvas stores it. @param {Colour} colour @param {number} alpha 0 to 255 @returns {number} */
export const pack = ([red, green, blue], alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** @param {Colour} colour @returns {string} for CSS and canvas */
export const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

/** 256 packed colours, linear between anchor points. @param {Anchors | null | undefined} anchors @returns {Uint32Array} */
export function rampOf(anchors) {
  const points = anchors?.length ? anchors : DEFAULT_HEAT;
  return Uint32Array.from({length: 256}, (_, index) => {
    const place = index / 255;
    const after = points.findIndex(([at]) => at >= place);
    if (after <= 0) return packed(points.at(after)?.[1] ?? [0, 0, 0, 0]);
    const [from, low] = points[after - 1];
    const [to, high] = points[after];
    const part = (place - from) / (to - from || 1);
    return packed(low.map((value, channel) => value + (high[channel] - value) * part));
  });
}

/** @param {number[]} rgba */
const packed = (rgba) => pack(rgba.slice(0, 3).map(Math.round), Math.round(rgba[3]));
