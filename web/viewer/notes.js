// What stands around a picture: corner texts, letters of the sides, a scale bar, lines of the other planes.
import {toPatient} from "./geometry.js";

/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {import("./pane.js").Pane} Pane */
/** @typedef {import("./scene.js").Scene} Scene */

/** Pixels of CSS. */
const MARGIN = 10;
const LEADING = 17;
const FONT = "13px system-ui, sans-serif";
const LETTER = "bold 16px system-ui, sans-serif";

/** A pane that is narrower shows the number of its plane and the letters of the sides alone. */
const NARROW = 320;

/** Lengths of a scale bar, mm, and the part of a pane that it may take. */
const LENGTHS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];
const MOST_BAR = 0.3;

/**
 * Draw the texts of a pane.
 * @param {Context} context
 * @param {Pane} pane
 * @param {Scene} scene
 * @param {number} index of the plane
 */
export function drawNotes(context, pane, scene, index) {
  if (scene.crosshair) drawCrosshair(context, pane, scene);
  const wide = pane.width >= NARROW;
  drawLetters(context, pane, wide ? MARGIN : MARGIN + LEADING);
  const zoom = wide && pane.zoom !== 1 ? [`Zoom ${Math.round(pane.zoom * 100)} %`] : [];
  corner(context, pane, "right", "top", [...placeWords(pane, scene, index), ...zoom]);
  if (pane.plane.measured) drawBar(context, pane);
  if (!pane.main || !wide) return;
  const {series} = scene;
  const title = `${series.modality} ${series.description}`.trim();
  corner(context, pane, "left", "top", [...wrap([title], pane), ...wrap(series.remarks, pane)]);
  corner(context, pane, "left", "bottom", readOut(scene));
  corner(context, pane, "right", "bottom", windowWords(scene));
}

/** @param {Pane} pane @param {Scene} scene @param {number} index @returns {string[]} */
function placeWords({plane}, {series}, index) {
  const name = plane.name && series.volumetric ? `${plane.name[0].toUpperCase()}${plane.name.slice(1)} ` : "";
  const gap = plane.axis === 0 && series.gapBefore(index) ? ["Slices are missing before this one"] : [];
  return [`${name}${index + 1} of ${plane.count}`, ...gap];
}

/** @param {Scene} scene @returns {string[]} */
function windowWords({series, window, inverted}) {
  if (series.colour) return inverted ? ["Inverted"] : [];
  const digits = window.width < 10 ? 2 : 0;
  const words = `C ${window.center.toFixed(digits)}  W ${window.width.toFixed(digits)}`;
  return [inverted ? `${words}  inverted` : words];
}

/** The value and the place below the pointer. @param {Scene} scene @returns {string[]} */
function readOut({series, hover}) {
  if (!hover) return [];
  const value = series.value(hover);
  if (value === null) return [];
  const text = typeof value === "number" ? `${Number(value.toPrecision(6))} ${series.units}`.trim() : value.join(", ");
  const {affine} = series;
  const place = affine && toPatient(affine, hover).map((mm, axis) =>
    `${(mm < 0 ? "RAF" : "LPH")[axis]} ${Math.abs(mm).toFixed(1)}`).join("  ");
  const voxel = `row ${hover[1]}, column ${hover[2]}, slice ${hover[0]}`;
  return place ? [text, voxel, `${place} mm`] : [text, voxel];
}

/** @param {string[]} sentences @param {Pane} pane @returns {string[]} lines of half a pane */
function wrap(sentences, pane) {
  const most = Math.max(20, Math.floor(pane.width / 2 / 7));
  return sentences.flatMap((sentence) => {
    const lines = [""];
    for (const word of sentence.split(/\s+/)) {
      const last = lines[lines.length - 1];
      if (last && last.length + word.length + 1 > most) lines.push(word);
      else lines[lines.length - 1] = last ? `${last} ${word}` : word;
    }
    return lines;
  });
}

/**
 * @param {Context} context
 * @param {Pane} pane
 * @param {"left" | "right"} side
 * @param {"top" | "bottom"} edge
 * @param {string[]} lines
 */
function corner(context, pane, side, edge, lines) {
  context.font = FONT;
  const x = side === "left" ? MARGIN : pane.width - MARGIN;
  const first = edge === "top" ? MARGIN : pane.height - MARGIN - LEADING * lines.length;
  lines.forEach((line, row) => write(context, line, x, first + row * LEADING, side, "top"));
}

/**
 * @param {Context} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {CanvasTextAlign} align
 * @param {CanvasTextBaseline} baseline
 */
function write(context, text, x, y, align, baseline) {
  context.textAlign = align;
  context.textBaseline = baseline;
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = "black";
  context.strokeText(text, x, y);
  context.fillStyle = "rgb(235 238 241)";
  context.fillText(text, x, y);
}

/** @param {Context} context @param {Pane} pane @param {number} first pixels of CSS above the top one */
function drawLetters(context, pane, first) {
  const {left, right, top, bottom} = pane.plane.letters;
  context.font = LETTER;
  write(context, left, MARGIN, pane.height / 2, "left", "middle");
  write(context, right, pane.width - MARGIN, pane.height / 2, "right", "middle");
  write(context, top, pane.width / 2, first, "center", "top");
  write(context, bottom, pane.width / 2, pane.height - MARGIN, "center", "bottom");
}

/** @param {Context} context @param {Pane} pane */
function drawBar(context, pane) {
  const length = LENGTHS.findLast((mm) => mm * pane.scale <= pane.width * MOST_BAR);
  if (!length) return;
  const [half, y] = [(length * pane.scale) / 2, pane.height - MARGIN - 2.2 * LEADING];
  const [x, text] = [pane.width / 2, length < 1 ? `${length * 1000} µm` : `${length} mm`];
  for (const [width, style] of /** @type {[number, string][]} */ ([[4, "black"], [2, "rgb(235 238 241)"]])) {
    context.beginPath();
    context.moveTo(x - half, y - 4);
    context.lineTo(x - half, y);
    context.lineTo(x + half, y);
    context.lineTo(x + half, y - 4);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
  context.font = FONT;
  write(context, text, x, y - 5, "center", "bottom");
}

/** Lines where the other planes cross, with a gap around the cursor. @param {Context} context @param {Pane} pane @param {Scene} scene */
function drawCrosshair(context, pane, {cursor}) {
  const [x, y] = pane.toScreen(cursor);
  context.lineWidth = 1;
  context.strokeStyle = "rgb(86 180 233 / 80%)";
  context.beginPath();
  for (const [from, to] of [[0, x - MARGIN], [x + MARGIN, pane.width]]) {
    context.moveTo(from, y);
    context.lineTo(to, y);
  }
  for (const [from, to] of [[0, y - MARGIN], [y + MARGIN, pane.height]]) {
    context.moveTo(x, from);
    context.lineTo(x, to);
  }
  context.stroke();
}
