// What gestures and keys on a pane do to its viewer.
import {attach} from "./gestures.js";
import {attachKeys} from "./keys.js";
import {toPlane, toVoxel} from "./planes.js";

/** @typedef {import("./pane.js").Pane} Pane */
/** @typedef {import("./viewer.js").Viewer} Viewer */

/** Least width of a window that is dragged, in parts of its width before. */
const NARROWEST = 0.01;

/** Pixels of CSS that Shift and an arrow pan by. */
const PAN_STEP = 20;

/**
 * Let a pane obey the pointer and the keys.
 * @param {Pane} pane
 * @param {Viewer} viewer
 */
export function attachControls(pane, viewer) {
  attach(pane, {
    tool: () => viewer.tool,
    scroll: (on, slices) => scroll(on, viewer, slices),
    pan: (on, x, y) => pan(on, viewer, x, y),
    zoom: (on, factor, around) => zoom(on, viewer, factor, around),
    window: (right, down) => drag(viewer, right, down),
    measure: (on, from, to) => measure(on, viewer, from, to),
    measured: () => viewer.endLength(),
    click: (on, place, positive) => click(on, viewer, place, positive),
    hover: (on, place) => viewer.hover(place && voxelAt(on, viewer, place)),
  });
  attachKeys(pane, {
    scroll: (on, slices) => scroll(on, viewer, slices),
    end: (on, last) => scroll(on, viewer, last ? on.plane.count : -on.plane.count),
    zoom: (on, factor) => zoom(on, viewer, factor),
    step: (on, right, down) => step(on, viewer, right, down),
    pick: (on, positive) => pick(on, viewer, positive),
    erase: () => viewer.eraseLength(),
    preset: (index) => preset(viewer, index),
    tool: (tool) => viewer.setTool(tool),
    overlays: () => viewer.setOverlaid(!viewer.scene?.overlaid),
    invert: () => viewer.setInverted(!viewer.scene?.inverted),
    smooth: () => viewer.setSmooth(!viewer.scene?.smooth),
    notes: () => viewer.setNoted(!viewer.scene?.noted),
    reset: () => viewer.reset(),
  });
}

/** @param {Pane} pane @param {Viewer} viewer @param {[number, number]} place @returns {number[] | null} */
function voxelAt(pane, viewer, [x, y]) {
  const {cursor} = viewer;
  return cursor && pane.voxelAt(x, y, cursor[pane.plane.axis]);
}

/** @param {Pane} pane @param {Viewer} viewer @param {[number, number]} from @param {[number, number]} to */
function measure(pane, viewer, from, to) {
  const index = viewer.cursor?.[pane.plane.axis] ?? 0;
  viewer.setRuler({axis: pane.plane.axis, points: [from, to].map(([x, y]) => pane.placeAt(x, y, index))});
}

/** @param {Pane} pane @param {Viewer} viewer @param {boolean} positive */
function pick(pane, viewer, positive) {
  const {cursor, tool} = viewer;
  if (!cursor) return;
  if (tool === "point") viewer.pick(cursor, positive);
  if (tool === "length") viewer.markLength(pane.plane.axis, cursor);
}

/** @param {Pane} pane @param {Viewer} viewer @param {number} slices */
function scroll(pane, viewer, slices) {
  const {cursor} = viewer;
  if (!cursor) return;
  cursor[pane.plane.axis] += slices;
  viewer.goTo(cursor);
}

/** @param {Pane} pane @param {Viewer} viewer @param {number} x @param {number} y */
function pan(pane, viewer, x, y) {
  pane.pan = [pane.pan[0] + x, pane.pan[1] + y];
  viewer.redraw();
}

/** @param {Pane} pane @param {Viewer} viewer @param {number} factor @param {[number, number]} [around] */
function zoom(pane, viewer, factor, around) {
  pane.zoomTo(pane.zoom * factor, around);
  viewer.redraw();
}

/** A wider window to the right, a darker picture downwards. @param {Viewer} viewer @param {number} right @param {number} down */
function drag(viewer, right, down) {
  const {window} = viewer;
  if (!window) return;
  const width = Math.max(window.width * NARROWEST, window.width * 2 ** (2 * right));
  viewer.setWindow(window.center + down * window.width, width, {function: window.function});
}

/** @param {Pane} pane @param {Viewer} viewer @param {[number, number]} place @param {boolean} positive */
function click(pane, viewer, place, positive) {
  const voxel = voxelAt(pane, viewer, place);
  if (!voxel) return;
  if (viewer.aims) viewer.goTo(voxel);
  if (viewer.tool === "point") viewer.pick(voxel, positive);
}

/**
 * Move the cursor by voxels of a pane where it is a place within it, else the picture.
 * @param {Pane} pane
 * @param {Viewer} viewer
 * @param {number} right
 * @param {number} down
 */
function step(pane, viewer, right, down) {
  const {cursor} = viewer;
  if (!cursor) return;
  if (!viewer.aims) return pan(pane, viewer, -right * PAN_STEP, -down * PAN_STEP);
  const [x, y] = toPlane(pane.plane, cursor);
  viewer.goTo(toVoxel(pane.plane, x + right, y + down, cursor[pane.plane.axis]));
}

/** @param {Viewer} viewer @param {number} index */
function preset(viewer, index) {
  const window = viewer.presets[index];
  if (window) viewer.setWindow(window.center, window.width, window);
}
