// One canvas that shows one plane: the picture, what lies over it, and the way between voxels and the screen.
import {drawNotes} from "./notes.js";
import {drawLengths, drawShapes} from "./shapes.js";
import {Layer} from "./layer.js";
import {isGrid, isVisible, misfit, paintHeatmaps, paintRegions, regionsOf, valuesOn} from "./overlays.js";
import {outlinesOf} from "./outlines.js";
import {css} from "./palettes.js";
import {cut, extent, toPlane, toVoxel} from "./planes.js";
import {paintColour} from "./windows.js";

/** @typedef {import("./overlays.js").GridOverlay} GridOverlay */
/** @typedef {import("./planes.js").Plane} Plane */
/** @typedef {import("./scene.js").Scene} Scene */

/** Canvas pixels for each pixel of CSS at most: beyond, drawing costs more than an eye sees. */
const MOST_DENSITY = 2;

/** Magnification over the size that fits. */
export const ZOOMS = {least: 0.25, most: 64};

/** Width of an outline in pixels of CSS. */
const OUTLINE = 1.5;

/** One plane of the scene on a canvas of its own. */
export class Pane {
  canvas = document.createElement("canvas");
  /** Magnification over the size that fits. */
  zoom = 1;
  /** Pixels of CSS from the middle of the pane to the middle of the plane. */
  pan = [0, 0];
  #context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
  #picture = new Layer();
  #heat = new Layer();
  #regions = new Layer();
  #size = [0, 0];

  /** @param {Plane} plane @param {boolean} main true for the pane that has the texts */
  constructor(plane, main) {
    this.plane = plane;
    this.main = main;
    this.canvas.className = "viewer-pane";
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "slider");
    this.canvas.setAttribute("aria-orientation", "vertical");
  }

  /** Pixels of CSS. */
  get width() {
    return this.#size[0];
  }

  /** Pixels of CSS. */
  get height() {
    return this.#size[1];
  }

  /** Pixels of CSS for each mm. */
  get scale() {
    const [width, height] = extent(this.plane);
    return this.zoom * Math.min(this.width / width, this.height / height);
  }

  /** Take over the size that the page gives the canvas. @returns {boolean} true if it changed */
  measure() {
    const {clientWidth, clientHeight} = this.canvas;
    const density = Math.min(MOST_DENSITY, globalThis.devicePixelRatio || 1);
    const [width, height] = [clientWidth, clientHeight].map((side) => Math.max(1, Math.round(side * density)));
    if (this.canvas.width === width && this.canvas.height === height && this.#size[0] === clientWidth) return false;
    Object.assign(this.canvas, {width, height});
    this.#size = [clientWidth, clientHeight];
    return true;
  }

  /** @param {number} zoom @param {[number, number]} [around] the place that stays, pixels of CSS */
  zoomTo(zoom, around = [this.width / 2, this.height / 2]) {
    const next = Math.min(ZOOMS.most, Math.max(ZOOMS.least, zoom));
    const factor = next / this.zoom;
    const middle = [this.width / 2, this.height / 2];
    this.pan = this.pan.map((pan, axis) => around[axis] - middle[axis] - (around[axis] - middle[axis] - pan) * factor);
    this.zoom = next;
  }

  reset() {
    this.zoom = 1;
    this.pan = [0, 0];
  }

  /** The corner of the plane and the size of a voxel, pixels of CSS. */
  frame() {
    const {plane, scale} = this;
    const [width, height] = extent(plane);
    return {
      left: this.width / 2 + this.pan[0] - (width * scale) / 2,
      top: this.height / 2 + this.pan[1] - (height * scale) / 2,
      across: plane.pixelWidth * scale,
      down: plane.pixelHeight * scale,
    };
  }

  /** The place of a voxel's centre on the canvas, pixels of CSS. @param {number[]} voxel @returns {[number, number]} */
  toScreen(voxel) {
    const {left, top, across, down} = this.frame();
    const [x, y] = toPlane(this.plane, voxel);
    return [left + (x + 0.5) * across, top + (y + 0.5) * down];
  }

  /**
   * @param {number} x pixels of CSS
   * @param {number} y
   * @param {number} index of the plane
   * @returns {number[] | null} the voxel there; null outside
   */
  voxelAt(x, y, index) {
    const [column, row] = this.#at(x, y).map((place) => Math.round(place));
    const inside = column >= 0 && row >= 0 && column < this.plane.width && row < this.plane.height;
    return inside ? toVoxel(this.plane, column, row, index) : null;
  }

  /**
   * @param {number} x pixels of CSS
   * @param {number} y
   * @param {number} index of the plane
   * @returns {number[]} the place there in fractions of voxels, at the edge of the picture for one beyond
   */
  placeAt(x, y, index) {
    const [column, row] = this.#at(x, y);
    const within = (/** @type {number} */ place, /** @type {number} */ size) => Math.min(size - 0.5, Math.max(-0.5, place));
    return toVoxel(this.plane, within(column, this.plane.width), within(row, this.plane.height), index);
  }

  /** Voxels from the left and from the top; (0, 0) is the first centre. @param {number} x pixels of CSS @param {number} y */
  #at(x, y) {
    const {left, top, across, down} = this.frame();
    return [(x - left) / across - 0.5, (y - top) / down - 0.5];
  }

  /** @param {Scene} scene */
  draw(scene) {
    const density = this.canvas.width / this.width;
    const context = this.#context;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.fillStyle = "black";
    context.fillRect(0, 0, this.width, this.height);
    const index = scene.cursor[this.plane.axis];
    this.#drawPicture(scene, index);
    if (scene.overlaid) {
      this.#drawGrids(scene, index);
      drawShapes(context, this, scene, index);
    }
    drawLengths(context, this, scene, index);
    if (scene.noted) drawNotes(context, this, scene, index);
    this.#describe(scene, index);
  }

  /** Say for those who do not see the canvas what it shows. @param {Scene} scene @param {number} index */
  #describe({series}, index) {
    const {name, count} = this.plane;
    const words = {
      "aria-label": [series.modality, series.description, series.volumetric ? name : ""].filter(Boolean).join(" "),
      "aria-valuemin": "1",
      "aria-valuemax": String(count),
      "aria-valuenow": String(index + 1),
      "aria-valuetext": `${index + 1} of ${count}`,
    };
    for (const [attribute, text] of Object.entries(words)) {
      if (this.canvas.getAttribute(attribute) !== text) this.canvas.setAttribute(attribute, text);
    }
  }

  /** @param {Scene} scene @param {number} index */
  #drawPicture({series, painter, smooth, version}, index) {
    const {plane} = this;
    this.#picture.paint(plane.width, plane.height, [plane, index, painter, version], (out) => {
      const slice = (/** @type {number} */ s) => series.slices[s].pixels;
      if (series.colour) return paintColour(slice(index), out);
      const values = cut({shape: series.shape, slice}, plane, index, () => new series.type(out.length));
      if (values) painter(values, out);
    });
    this.#place(this.#picture, smooth);
  }

  /** @param {Scene} scene @param {number} index */
  #drawGrids(scene, index) {
    const grids = scene.overlays.filter(isGrid).filter((one) => isVisible(one) && !misfit(one, scene.series.shape));
    if (!grids.length) return;
    const heatmaps = grids.filter(({kind}) => kind === "heatmap"), regions = grids.filter(({kind}) => kind !== "heatmap");
    this.#drawLayer(this.#heat, paintHeatmaps, heatmaps, scene, index);
    this.#drawLayer(this.#regions, paintRegions, regions, scene, index);
    for (const one of regions) if (one.outline !== false) this.#drawOutlines(one, scene, index);
  }

  /**
   * @param {Layer} layer
   * @param {(planes: [GridOverlay, import("./overlays.js").Values][], out: Uint32Array) => void} paint
   * @param {GridOverlay[]} grids
   * @param {Scene} scene
   * @param {number} index
   */
  #drawLayer(layer, paint, grids, {overlays, version}, index) {
    if (!grids.length) return;
    const {plane} = this;
    layer.paint(plane.width, plane.height, [plane, index, overlays, version], (out) => paint(grids.flatMap((one) => {
      const values = valuesOn(one, plane, index);
      return values ? [[one, values]] : [];
    }), out));
    this.#place(layer, false);
  }

  /** @param {Layer} layer @param {boolean} smooth */
  #place(layer, smooth) {
    const {left, top, across, down} = this.frame();
    this.#context.imageSmoothingEnabled = smooth;
    this.#context.drawImage(layer.canvas, left, top, across * this.plane.width, down * this.plane.height);
  }

  /** @param {GridOverlay} overlay @param {Scene} scene @param {number} index */
  #drawOutlines(overlay, scene, index) {
    const regions = regionsOf(overlay);
    if (!regions) return;
    const {plane} = this;
    const key = [plane.axis, index, regions.key, overlay.offset ?? "", scene.series.shape].join(";");
    const outlines = scene.outlines.get(overlay.data, key, () => {
      const values = valuesOn(overlay, plane, index);
      return values ? outlinesOf(values, plane.width, regions.region) : [];
    });
    const {left, top, across, down} = this.frame();
    this.#context.lineWidth = OUTLINE;
    for (const {region, edges} of outlines) {
      this.#context.strokeStyle = css(regions.tint(region));
      this.#context.beginPath();
      for (let at = 0; at < edges.length; at += 4) {
        this.#context.moveTo(left + edges[at] * across, top + edges[at + 1] * down);
        this.#context.lineTo(left + edges[at + 2] * across, top + edges[at + 3] * down);
      }
      this.#context.stroke();
    }
  }
}
