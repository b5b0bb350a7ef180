// Boxes, points and lines over a plane.
import {lengthWords} from "./lengths.js";
import {isVisible} from "./overlays.js";
import {colourOf, css} from "./palettes.js";

/** @typedef {import("./overlays.js").BoxOverlay} Box */
/** @typedef {import("./overlays.js").MarkOverlay} Mark */
/** @typedef {import("./pane.js").Pane} Pane */
/** @typedef {CanvasRenderingContext2D} Context */

/** Pixels of CSS: half of a point's sign, the width of a line, the size of a text. */
const REACH = 6;
const LINE = 2;
const TEXT = 13;

/** The colour of what a person measures: of no finding. */
const RULER = [255, 255, 255];

/** A point is on a plane if its centre is not further away, in planes. */
const NEAR = 0.5;

/**
 * Draw the boxes and marks that lie on a plane.
 * @param {Context} context
 * @param {Pane} pane
 * @param {import("./scene.js").Scene} scene
 * @param {number} index of the plane
 */
export function drawShapes(context, pane, scene, index) {
  for (const overlay of scene.overlays) {
    if (!isVisible(overlay)) continue;
    if (overlay.kind === "box") drawBox(context, pane, overlay, index);
    if (overlay.kind === "mark") drawMark(context, pane, overlay, index);
  }
}

/**
 * Draw the lengths that were measured on a plane; another plane would show them shorter than they are.
 * @param {Context} context
 * @param {Pane} pane
 * @param {import("./scene.js").Scene} scene
 * @param {number} index of the plane
 */
export function drawLengths(context, pane, {series, lengths, ruler}, index) {
  const {axis} = pane.plane;
  for (const length of ruler ? [...lengths, ruler] : lengths) {
    if (length.axis !== axis || Math.abs(length.points[0][axis] - index) > NEAR) continue;
    const common = {id: "", name: "", colour: RULER, points: length.points};
    if (length.points.length < 2) drawMark(context, pane, {...common, kind: "mark", symbol: "plus"}, index);
    else drawMark(context, pane, {...common, kind: "mark", symbol: "line", text: lengthWords(series, length)}, index);
  }
}

/** @param {Context} context @param {Pane} pane @param {Box} box @param {number} index */
function drawBox(context, pane, box, index) {
  const ends = [box.from, box.to].map((corner) => corner[pane.plane.axis]);
  if (index < Math.min(...ends) - NEAR || index > Math.max(...ends) + NEAR) return;
  const corners = [pane.toScreen(box.from), pane.toScreen(box.to)];
  const [left, right] = corners.map(([x]) => x).sort((a, b) => a - b);
  const [top, bottom] = corners.map(([, y]) => y).sort((a, b) => a - b);
  stroke(context, box.colour, () => context.rect(left, top, right - left, bottom - top));
  write(context, box.text ?? box.name, left + LINE + 2, top + LINE + 2, box.colour);
}

/** @param {Context} context @param {Pane} pane @param {Mark} mark @param {number} index */
function drawMark(context, pane, mark, index) {
  const {axis} = pane.plane;
  const heights = mark.points.map((point) => point[axis]);
  if (!heights.length || index < Math.min(...heights) - NEAR || index > Math.max(...heights) + NEAR) return;
  const places = mark.points.map((point) => pane.toScreen(point));
  const near = places.filter((_, point) => Math.abs(heights[point] - index) <= NEAR);
  if ((mark.symbol ?? "dot") === "line") {
    stroke(context, mark.colour, () => {
      places.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (mark.closed) context.closePath();
    });
  }
  for (const [x, y] of near) drawSymbol(context, mark, x, y);
  const [x, y] = middle(places);
  if (mark.text) write(context, mark.text, x + REACH + 2, y + REACH, mark.colour);
}

/** @param {Context} context @param {Mark} mark @param {number} x @param {number} y */
function drawSymbol(context, {symbol = "dot", colour}, x, y) {
  const radius = symbol === "line" ? LINE + 1 : REACH;
  stroke(context, colour, () => {
    context.arc(x, y, radius, 0, 2 * Math.PI);
    if (symbol !== "plus" && symbol !== "minus") return;
    context.moveTo(x - radius / 2, y);
    context.lineTo(x + radius / 2, y);
    if (symbol === "minus") return;
    context.moveTo(x, y - radius / 2);
    context.lineTo(x, y + radius / 2);
  });
}

/** @param {[number, number][]} places @returns {[number, number]} */
function middle(places) {
  const xs = places.map(([x]) => x);
  const ys = places.map(([, y]) => y);
  return [(Math.min(...xs) + Math.max(...xs)) / 2, (Math.min(...ys) + Math.max(...ys)) / 2];
}

/**
 * Stroke a path in a colour with a dark edge, so that it is seen on white and on black.
 * @param {Context} context
 * @param {import("./palettes.js").Colour | undefined} colour
 * @param {() => void} path
 */
function stroke(context, colour, path) {
  for (const [width, style] of /** @type {[number, string][]} */ ([[LINE + 2, "rgb(0 0 0 / 60%)"], [LINE, css(colour ?? colourOf(0))]])) {
    context.beginPath();
    path();
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
}

/**
 * Write a text with a dark edge, below and right of a place.
 * @param {Context} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {import("./palettes.js").Colour} [colour]
 */
function write(context, text, x, y, colour) {
  context.font = `${TEXT}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "top";
  context.lineWidth = 3;
  context.strokeStyle = "black";
  context.strokeText(text, x, y);
  context.fillStyle = css(colour ?? colourOf(0));
  context.fillText(text, x, y);
}
