// From values to grey: windows of PS3.3 C.11.2.1.2, as the gateway's own renderings apply them.

/** @typedef {import("./pictures.js").Window} Window */
/** @typedef {import("./pictures.js").Pixels} Pixels */
/** @typedef {import("./series.js").Series} Series */

/** What a window covers where none is stated: all but the darkest and the brightest hundredth, as in the gateway. */
const PERCENTILES = [0.01, 0.99];

/** Values that are sorted for percentiles; more take long and tell little. */
const MOST_SAMPLES = 8192;

/** Usual windows of a CT, HU. @type {Window[]} */
const CT_WINDOWS = [
  {name: "Soft tissue", center: 40, width: 400},
  {name: "Lung", center: -600, width: 1500},
  {name: "Bone", center: 480, width: 2500},
  {name: "Brain", center: 40, width: 80},
  {name: "Stroke", center: 35, width: 35},
  {name: "Liver", center: 60, width: 160},
  {name: "Mediastinum", center: 50, width: 350},
];

/** Presets have the keys 1 to 9. */
const MOST_PRESETS = 9;

/** Opaque black; grey is added to it. Pixels of a canvas are 0xAABBGGRR in a little-endian Uint32. */
const OPAQUE = 0xff000000;

/**
 * The windows on offer: those of the series, the whole range where it states none, and the usual ones of a CT.
 * @param {Series} series
 * @returns {Window[]} at least one
 */
export function presets(series) {
  const stated = series.windows.map((window, index) => ({...window, name: window.name || `Window ${index + 1}`}));
  const usual = series.modality === "CT" && series.units === "HU" ? CT_WINDOWS : [];
  return [...stated, ...usual, automatic(series)].slice(0, MOST_PRESETS);
}

/** The first window to show a series with. @param {Series} series @returns {Window} */
export const firstWindow = (series) => series.windows[0] ?? automatic(series);

/** A window over the percentiles of the middle slice, or of all slices where that one has a single value. @param {Series} series @returns {Window} */
function automatic(series) {
  let samples = samplesOf(series.slices[series.slices.length >> 1].pixels);
  if (samples[0] === samples[samples.length - 1]) samples = Float64Array.from(series.slices.flatMap(({pixels}) => [...samplesOf(pixels)])).sort();
  const last = samples.length - 1;
  let [low, high] = PERCENTILES.map((part) => samples[Math.round(part * last)] ?? 0);
  if (high <= low) [low, high] = [samples[0] ?? 0, samples[last] ?? 0];
  return {name: "Automatic", center: (low + high) / 2, width: Math.max(high - low, 1e-6), function: "LINEAR_EXACT"};
}

/** Some values, from low to high. @param {Pixels} pixels @returns {Float64Array} */
function samplesOf(pixels) {
  const every = Math.floor(pixels.length / MOST_SAMPLES) | 1;  // odd: an even step would meet few columns
  return new Float64Array(Math.ceil(pixels.length / every)).map((_, index) => pixels[index * every]).filter(Number.isFinite).sort();
}

/** @param {Window} window @returns {(value: number) => number} the part of white, 0 to 1 */
export function curve(window) {
  if (window.function === "SIGMOID") {
    return (value) => 1 / (1 + Math.exp((-4 * (value - window.center)) / window.width));
  }
  const linear = window.function !== "LINEAR_EXACT" && window.width >= 1;
  const low = linear ? window.center - 0.5 - (window.width - 1) / 2 : window.center - window.width / 2;
  const high = linear ? window.center - 0.5 + (window.width - 1) / 2 : window.center + window.width / 2;
  if (!(high > low)) return (value) => (value > low ? 1 : 0);
  return (value) => Math.min(1, Math.max(0, (value - low) / (high - low)));
}

/**
 * Return a function that paints values of any type as opaque grey: slices of one series may differ in it.
 * @param {Window} window
 * @param {boolean} inverted
 * @returns {(values: Pixels, out: Uint32Array) => void}
 */
export function painter(window, inverted) {
  const part = curve(window);
  const flip = inverted ? 255 : 0;
  const grey = (/** @type {number} */ value) => (OPAQUE | ((Math.round(part(value) * 255) ^ flip) * 0x010101)) >>> 0;
  /** @type {Map<Function, (values: Pixels, out: Uint32Array) => void>} */
  const painters = new Map();
  return (values, out) => {
    const paint = painters.get(values.constructor) ?? painterOf(grey, values);
    painters.set(values.constructor, paint);
    paint(values, out);
  };
}

/**
 * @param {(value: number) => number} grey
 * @param {Pixels} sample one array of the type that is painted
 * @returns {(values: Pixels, out: Uint32Array) => void}
 */
function painterOf(grey, sample) {
  if (sample instanceof Float32Array) return floatPainter(grey);
  const table = tableOf(grey, sample);
  const bits = table.length - 1;
  return (values, out) => {
    for (let at = 0; at < values.length; at++) out[at] = table[values[at] & bits];
  };
}

/**
 * @param {(value: number) => number} grey
 * @param {Pixels} sample
 * @returns {Uint32Array} the colour of each value, by the lowest bits of it
 */
function tableOf(grey, sample) {
  const signed = sample instanceof Int16Array;
  const size = sample.BYTES_PER_ELEMENT === 1 ? 256 : 65536;
  return Uint32Array.from({length: size}, (_, bits) => grey(signed && bits >= size / 2 ? bits - size : bits));
}

/** @param {(value: number) => number} grey @returns {(values: Pixels, out: Uint32Array) => void} */
function floatPainter(grey) {
  const steps = Uint32Array.from({length: 256}, (_, index) => (OPAQUE | (index * 0x010101)) >>> 0);
  return (values, out) => {
    for (let at = 0; at < values.length; at++) {
      const value = values[at];
      out[at] = Number.isNaN(value) ? steps[0] : grey(value);
    }
  };
}

/** Paint red, green and blue as opaque pixels. @param {Pixels} values @param {Uint32Array} out */
export function paintColour(values, out) {
  for (let at = 0, from = 0; at < out.length; at++, from += 3) {
    out[at] = (OPAQUE | (values[from + 2] << 16) | (values[from + 1] << 8) | values[from]) >>> 0;
  }
}
