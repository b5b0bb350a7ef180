// What every pane of a viewer draws.
import {OutlineCache} from "./outlines.js";
import {firstWindow, painter} from "./windows.js";

/** @typedef {import("./series.js").Series} Series */

/**
 * @typedef {object} Scene
 * @property {Series} series
 * @property {number[]} cursor (slice, row, column); each pane shows the plane through it
 * @property {number[] | null} hover the voxel below the pointer
 * @property {import("./pictures.js").Window} window
 * @property {(values: import("./pictures.js").Pixels, out: Uint32Array) => void} painter
 * @property {import("./overlays.js").Overlay[]} overlays
 * @property {import("./lengths.js").Length[]} lengths that were measured
 * @property {import("./lengths.js").Length | null} ruler the length that is being measured; one point until it has a second
 * @property {boolean} inverted by the reader, beyond what the picture asks for
 * @property {boolean} smooth pixels are interpolated
 * @property {boolean} overlaid overlays are shown
 * @property {boolean} noted texts and letters are shown
 * @property {boolean} crosshair
 * @property {number} version changes as data change
 * @property {OutlineCache} outlines
 */

/** A scene at the middle of a series. @param {Series} series @returns {Scene} */
export function sceneOf(series) {
  const window = firstWindow(series);
  return {
    series,
    cursor: series.shape.map((side) => side >> 1),
    hover: null,
    window,
    painter: painterOf(series, window, false),
    overlays: [],
    lengths: [],
    ruler: null,
    inverted: false,
    smooth: true,
    overlaid: true,
    noted: true,
    crosshair: false,
    version: 0,
    outlines: new OutlineCache(),
  };
}

/**
 * @param {Series} series
 * @param {import("./pictures.js").Window} window
 * @param {boolean} inverted by the reader
 * @returns {Scene["painter"]} does nothing for colour, which has no window
 */
export const painterOf = (series, window, inverted) =>
  series.colour ? () => {} : painter(window, series.inverted !== inverted);
