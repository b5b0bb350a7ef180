// A viewer of one series: its planes, what lies over them, and what a person does there.
import {attachControls} from "./controls.js";
import {toPatient} from "./geometry.js";
import {lengthWords} from "./lengths.js";
import {misfit} from "./overlays.js";
import {Pane} from "./pane.js";
import {ownPlane, planesOf} from "./planes.js";
import {savePanes} from "./saving.js";
import {painterOf, sceneOf} from "./scene.js";
import {firstWindow, presets} from "./windows.js";

/** @typedef {import("./gestures.js").Tool} Tool */
/** @typedef {import("./pictures.js").Window} Window */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./geometry.js").PlaneName | "stack" | "all"} View as stored, one plane of the patient, or all three */

/**
 * Shows a series in an element.
 * Events: `pick` {voxel, positive}, `length` {words, count}, `cursor` {voxel, value, units, lps}, `window` {center, width, inverted}, and `view`
 * {view, tool, cursor, overlaid} for all else; each has its facts in `detail`.
 */
export class Viewer extends EventTarget {
  /** What is drawn; for the modules of the viewer. @type {Scene | null} */
  scene = null;
  /** @type {Pane[]} */
  #panes = [];
  /** @type {View} */
  #view = "stack";
  /** @type {Tool} */
  #tool = "scroll";
  /** The slice of the cursor, which slices that arrive later move. @type {import("./series.js").Slice | null} */
  #slice = null;
  /** @type {{series: Series | null, version: number, windows: Window[]}} */
  #presets = {series: null, version: 0, windows: []};
  #pending = 0;
  #element;
  #resized = new ResizeObserver(() => this.redraw());

  /** @param {HTMLElement} element becomes the viewer; its size is the page's affair */
  constructor(element) {
    super();
    this.#element = element;
    element.classList.add("viewer");
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", "Pictures");
    this.#resized.observe(element);
  }

  /**
   * Show a series, beginning with its middle slice; null shows nothing. Overlays of another series leave.
   * @param {Series | null} series
   */
  show(series) {
    this.scene = series && sceneOf(series);
    this.#slice = series && series.slices[series.loaded >> 1];
    if (!series?.volumetric) this.#view = "stack";
    this.#arrange();
  }

  /** Draw again, after slices were added or data of an overlay changed. */
  refresh() {
    const {scene} = this;
    if (!scene) return;
    scene.version++;
    scene.outlines.clear();
    const at = this.#slice ? scene.series.slices.indexOf(this.#slice) : -1;
    if (at >= 0) scene.cursor = [at, scene.cursor[1], scene.cursor[2]];
    const planes = this.#planes(scene.series);
    if (planes.length !== this.#panes.length) return this.#arrange();
    planes.forEach((plane, index) => (this.#panes[index].plane = plane));
    this.redraw();
  }

  /** Release what the browser holds for the viewer. */
  close() {
    this.#resized.disconnect();
    cancelAnimationFrame(this.#pending);
    this.#element.replaceChildren();
    this.scene = null;
  }

  get series() {
    return this.scene?.series ?? null;
  }

  get view() {
    return this.#view;
  }

  /** @param {View} view a series that is no volume is always shown as a stack */
  setPlane(view) {
    this.#view = this.series?.volumetric ? view : "stack";
    this.#arrange();
    this.#tellView();
  }

  get window() {
    return this.scene?.window ?? null;
  }

  /** The windows of the keys 1 to 9. @returns {Window[]} */
  get presets() {
    const {series} = this;
    if (!series) return [];
    if (this.#presets.series !== series || this.#presets.version !== series.version) {
      this.#presets = {series, version: series.version, windows: presets(series)};
    }
    return this.#presets.windows;
  }

  /** @param {number} center @param {number} width @param {Partial<Window>} [rest] */
  setWindow(center, width, rest = {}) {
    this.#look({window: {...rest, center, width}});
  }

  /** @param {boolean} inverted */
  setInverted(inverted) {
    this.#look({inverted});
  }

  /** @param {boolean} smooth false shows each pixel as a square */
  setSmooth(smooth) {
    this.#set({smooth});
  }

  /** @param {boolean} noted false leaves the pictures without texts */
  setNoted(noted) {
    this.#set({noted});
  }

  /** @param {boolean} overlaid false leaves them without overlays */
  setOverlaid(overlaid) {
    this.#set({overlaid});
    this.#tellView();
  }

  get tool() {
    return this.#tool;
  }

  /** @param {Tool} tool of the main button */
  setTool(tool) {
    this.#tool = tool;
    this.#element.dataset.tool = tool;
    this.redraw();
    this.#tellView();
  }

  get overlays() {
    return this.scene?.overlays ?? [];
  }

  /** A list of its own for each change; one that does not fit the series is left out (`misfit` says why). */
  set overlays(overlays) {
    this.#set({overlays: [...overlays]});
  }

  /** What is wrong with an overlay on this series, in words. @param {import("./overlays.js").Overlay} overlay */
  misfit(overlay) {
    return this.series ? misfit(overlay, this.series.shape) : "There is no series.";
  }

  /** A copy, (slice, row, column); null without a series. @returns {number[] | null} */
  get cursor() {
    return this.scene && [...this.scene.cursor];
  }

  /** True while the cursor is a place within the planes, and not their number alone. */
  get aims() {
    return this.#panes.length > 1 || this.#tool === "point" || this.#tool === "length";
  }

  /** Show the planes through a voxel. @param {number[]} voxel (slice, row, column) */
  goTo(voxel) {
    const {scene} = this;
    if (!scene) return;
    const {shape, slices} = scene.series;
    scene.cursor = voxel.map((place, axis) => Math.min(shape[axis] - 1, Math.max(0, Math.round(place))));
    this.#slice = slices[scene.cursor[0]];
    this.redraw();
    this.#tellView();
  }

  /** Bring a voxel to the middle of every pane. @param {number[]} voxel */
  lookAt(voxel) {
    this.goTo(voxel);
    for (const pane of this.#panes) {
      const [x, y] = pane.toScreen(voxel);
      pane.pan = [pane.pan[0] + pane.width / 2 - x, pane.pan[1] + pane.height / 2 - y];
    }
    this.redraw();
  }

  /** @param {number} zoom magnification over the size that fits, of all panes */
  setZoom(zoom) {
    for (const pane of this.#panes) pane.zoomTo(zoom);
    this.redraw();
  }

  /** Undo zoom, pan, window and inversion. */
  reset() {
    for (const pane of this.#panes) pane.reset();
    if (this.series) this.#look({window: firstWindow(this.series), inverted: false});
  }

  /** Tell of a click on a voxel. @param {number[]} voxel @param {boolean} positive */
  pick(voxel, positive) {
    this.#tell("pick", {voxel, positive});
  }

  /** Show a length that is being measured. @param {import("./lengths.js").Length | null} ruler */
  setRuler(ruler) {
    this.#set({ruler});
  }

  /** Keep the length that was being measured. */
  endLength() {
    const {scene} = this;
    if (!scene?.ruler) return;
    const {ruler} = scene;
    this.#set({lengths: [...scene.lengths, ruler], ruler: null});
    this.#tell("length", {words: lengthWords(scene.series, ruler), count: scene.lengths.length});
  }

  /** Take a voxel as the first end of a length, or as the second where the first is on the same plane. @param {number} axis across the plane @param {number[]} voxel */
  markLength(axis, voxel) {
    const ruler = this.scene?.ruler;
    const first = ruler?.points[0];
    const goesOn = first && ruler.axis === axis && first[axis] === voxel[axis];
    this.setRuler({axis, points: goesOn ? [first, voxel] : [voxel]});
    if (goesOn) this.endLength();
  }

  /** Remove the length that is being measured, else the last one; all of them by `all`. @param {boolean} [all] */
  eraseLength(all = false) {
    const {scene} = this;
    if (!scene) return;
    this.#set({lengths: all ? [] : scene.ruler ? scene.lengths : scene.lengths.slice(0, -1), ruler: null});
    this.#tell("length", {words: "", count: scene.lengths.length});
  }

  /** Tell of the voxel below the pointer. @param {number[] | null} voxel */
  hover(voxel) {
    const {scene} = this;
    if (!scene || String(voxel) === String(scene.hover)) return;
    this.#set({hover: voxel});
    const {series} = scene;
    const lps = voxel && series.affine && toPatient(series.affine, voxel);
    this.#tell("cursor", {voxel, value: voxel && series.value(voxel), units: series.units, lps});
  }

  /**
   * @param {number[]} voxel
   * @param {number} [pane] counted from 0
   * @returns {[number, number] | null} its centre, pixels of CSS in the page's viewport
   */
  toScreen(voxel, pane = 0) {
    const found = this.#panes[pane];
    if (!found) return null;
    const {left, top} = found.canvas.getBoundingClientRect();
    const [x, y] = found.toScreen(voxel);
    return [left + x, top + y];
  }

  /** The view as a PNG, with all its texts. @returns {Promise<Blob>} */
  toBlob() {
    this.flush();
    return savePanes(this.#element, this.#panes);
  }

  /** Draw at the next frame. */
  redraw() {
    this.#pending ||= requestAnimationFrame(() => this.flush());
  }

  /** Draw now what waits for the next frame. */
  flush() {
    cancelAnimationFrame(this.#pending);
    this.#pending = 0;
    const {scene} = this;
    if (!scene) return;
    scene.crosshair = this.aims;
    for (const pane of this.#panes) {
      pane.measure();
      if (pane.width && pane.height) pane.draw(scene);
    }
  }

  /** Put a pane for each plane of the view into the element. */
  #arrange() {
    const planes = this.series ? this.#planes(this.series) : [];
    this.#panes = planes.map((plane, index) => new Pane(plane, !index));
    for (const pane of this.#panes) attachControls(pane, this);
    this.#element.replaceChildren(...this.#panes.map(({canvas}) => canvas));
    this.#element.dataset.panes = String(planes.length);
    for (const pane of this.#panes) pane.measure();
    this.redraw();
  }

  /** @param {Series} series @returns {import("./planes.js").Plane[]} */
  #planes(series) {
    if (this.#view === "stack" || !series.volumetric) return [ownPlane(series)];
    const planes = planesOf(series);
    return this.#view === "all" ? planes : planes.filter(({name}) => name === this.#view);
  }

  /** @param {Partial<Scene>} changes */
  #set(changes) {
    if (!this.scene) return;
    Object.assign(this.scene, changes);
    this.redraw();
  }

  /** Change how values look. @param {Partial<Scene>} changes */
  #look(changes) {
    const {scene} = this;
    if (!scene) return;
    this.#set(changes);
    scene.painter = painterOf(scene.series, scene.window, scene.inverted);
    this.#tell("window", {...scene.window, inverted: scene.inverted});
  }

  #tellView() {
    this.#tell("view", {view: this.#view, tool: this.#tool, cursor: this.cursor, overlaid: this.scene?.overlaid ?? true});
  }

  /** @param {string} type @param {object} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }
}
