// A viewer of one series: its planes, what lies over them, and what a person does there.
import {toPatient} from "./geometry.js";
import {attach} from "./gestures.js";
import {attachKeys} from "./keys.js";
import {OutlineCache} from "./outlines.js";
import {misfit} from "./overlays.js";
import {Pane} from "./pane.js";
import {ownPlane, planesOf, toVoxel, toPlane} from "./planes.js";
import {firstWindow, painter, presets} from "./windows.js";

/** @typedef {import("./gestures.js").Tool} Tool */
/** @typedef {import("./overlays.js").Overlay} Overlay */
/** @typedef {import("./pictures.js").Window} Window */
/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {PlaneName | "stack" | "all"} View the series as stored, one plane of the patient, or all three */

/**
 * What every pane draws.
 * @typedef {object} Scene
 * @property {Series} series
 * @property {number[]} cursor (slice, row, column); each pane shows the plane through it
 * @property {number[] | null} hover the voxel below the pointer
 * @property {Window} window
 * @property {(values: import("./pictures.js").Pixels, out: Uint32Array) => void} painter
 * @property {boolean} inverted by the reader, beyond what the picture asks for
 * @property {boolean} smooth pixels are interpolated
 * @property {Overlay[]} overlays
 * @property {boolean} overlaid overlays are shown
 * @property {boolean} noted texts and letters are shown
 * @property {boolean} crosshair
 * @property {number} version changes as data change
 * @property {OutlineCache} outlines
 */

/** Least width of a window that is dragged, in parts of its width before. */
const NARROWEST = 0.01;

/** Pixels of CSS that Shift and an arrow pan by. */
const PAN_STEP = 20;

/**
 * Shows a series in an element.
 * Events: `pick` {voxel, positive}, `cursor` {voxel, value, units, lps}, `window` {center, width, inverted}, and `view`
 * {view, tool, cursor, overlaid} for all else; each has its facts in `detail`.
 */
export class Viewer extends EventTarget {
  /** @type {Scene | null} */
  #scene = null;
  /** @type {Pane[]} */
  #panes = [];
  /** @type {View} */
  #view = "stack";
  /** @type {Tool} */
  #tool = "scroll";
  /** The slice of the cursor, which slices that arrive later move. @type {import("./series.js").Slice | null} */
  #slice = null;
  #pending = 0;
  #element;
  #resized = new ResizeObserver(() => this.#invalidate());

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
    this.#scene = series && sceneOf(series);
    this.#slice = series && series.slices[series.loaded >> 1];
    if (series && !series.volumetric) this.#view = "stack";
    this.#arrange();
  }

  /** Draw again, after slices were added or data of an overlay changed. */
  refresh() {
    const scene = this.#scene;
    if (!scene) return;
    scene.version++;
    scene.outlines.clear();
    const at = this.#slice ? scene.series.slices.indexOf(this.#slice) : -1;
    if (at >= 0) scene.cursor = [at, scene.cursor[1], scene.cursor[2]];
    const planes = this.#planes(scene.series);
    if (planes.length !== this.#panes.length) return this.#arrange();
    planes.forEach((plane, index) => (this.#panes[index].plane = plane));
    this.#invalidate();
  }

  /** Release what the browser holds for the viewer. */
  close() {
    this.#resized.disconnect();
    cancelAnimationFrame(this.#pending);
    this.#element.replaceChildren();
    this.#scene = null;
  }

  get series() {
    return this.#scene?.series ?? null;
  }

  get view() {
    return this.#view;
  }

  /** @param {View} view a series that is no volume is always shown as a stack */
  setPlane(view) {
    this.#view = this.#scene?.series.volumetric ? view : "stack";
    this.#arrange();
    this.#tell("view");
  }

  get window() {
    return this.#scene?.window ?? null;
  }

  /** The windows of the keys 1 to 9. @returns {Window[]} */
  get presets() {
    return this.#scene ? presets(this.#scene.series) : [];
  }

  /** @param {number} center @param {number} width @param {Partial<Window>} [rest] */
  setWindow(center, width, rest = {}) {
    this.#change((scene) => (scene.window = {...rest, center, width}));
    this.#tell("window");
  }

  /** @param {boolean} inverted */
  setInverted(inverted) {
    this.#change((scene) => (scene.inverted = inverted));
    this.#tell("window");
  }

  /** @param {boolean} smooth false shows each pixel as a square */
  setSmooth(smooth) {
    if (this.#scene) this.#scene.smooth = smooth;
    this.#invalidate();
  }

  get tool() {
    return this.#tool;
  }

  /** @param {Tool} tool of the main button */
  setTool(tool) {
    this.#tool = tool;
    this.#element.dataset.tool = tool;
    this.#invalidate();
    this.#tell("view");
  }

  get overlays() {
    return this.#scene?.overlays ?? [];
  }

  /** A list of its own for each change; one that does not fit the series is left out (`misfit` says why). */
  set overlays(overlays) {
    if (this.#scene) this.#scene.overlays = [...overlays];
    this.#invalidate();
  }

  /** @param {boolean} shown */
  setOverlaid(shown) {
    if (this.#scene) this.#scene.overlaid = shown;
    this.#invalidate();
    this.#tell("view");
  }

  /** @param {boolean} noted false leaves the pictures without texts */
  setNoted(noted) {
    if (this.#scene) this.#scene.noted = noted;
    this.#invalidate();
  }

  /** What is wrong with an overlay on this series, in words. @param {Overlay} overlay @returns {string} */
  misfit(overlay) {
    return this.#scene ? misfit(overlay, this.#scene.series.shape) : "There is no series.";
  }

  /** (slice, row, column); null without a series. @returns {number[] | null} */
  get cursor() {
    return this.#scene && [...this.#scene.cursor];
  }

  /** Show the planes through a voxel. @param {number[]} voxel (slice, row, column) */
  goTo(voxel) {
    const scene = this.#scene;
    if (!scene) return;
    const {shape, slices} = scene.series;
    scene.cursor = voxel.map((place, axis) => Math.min(shape[axis] - 1, Math.max(0, Math.round(place))));
    this.#slice = slices[scene.cursor[0]];
    this.#invalidate();
    this.#tell("view");
  }

  /** @param {number} zoom magnification over the size that fits, of all panes */
  setZoom(zoom) {
    for (const pane of this.#panes) pane.zoomTo(zoom);
    this.#invalidate();
  }

  /** Bring a voxel to the middle of every pane. @param {number[]} voxel */
  lookAt(voxel) {
    this.goTo(voxel);
    for (const pane of this.#panes) {
      const [x, y] = pane.toScreen(voxel);
      pane.pan = [pane.pan[0] + pane.width / 2 - x, pane.pan[1] + pane.height / 2 - y];
    }
    this.#invalidate();
  }

  /** Undo zoom, pan, window and inversion. */
  reset() {
    for (const pane of this.#panes) pane.reset();
    this.#change((scene) => Object.assign(scene, {window: firstWindow(scene.series), inverted: false}));
    this.#tell("window");
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

  /** Draw now what waits for the next frame. */
  flush() {
    cancelAnimationFrame(this.#pending);
    this.#draw();
  }

  /** The view as a PNG, with all its texts. @returns {Promise<Blob>} */
  async toBlob() {
    this.flush();
    const frame = this.#element.getBoundingClientRect();
    const density = (this.#panes[0]?.canvas.width ?? 1) / (this.#panes[0]?.width || 1);
    const canvas = new OffscreenCanvas(Math.max(1, frame.width * density), Math.max(1, frame.height * density));
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const pane of this.#panes) {
      const {left, top} = pane.canvas.getBoundingClientRect();
      context.drawImage(pane.canvas, (left - frame.left) * density, (top - frame.top) * density);
    }
    return canvas.convertToBlob({type: "image/png"});
  }

  /** Put a pane for each plane of the view into the element. */
  #arrange() {
    const scene = this.#scene;
    const planes = scene ? this.#planes(scene.series) : [];
    this.#panes = planes.map((plane) => this.#pane(plane));
    this.#element.replaceChildren(...this.#panes.map(({canvas}) => canvas));
    this.#element.dataset.panes = String(planes.length);
    for (const pane of this.#panes) pane.measure();
    if (scene) scene.crosshair = planes.length > 1;
    this.#invalidate();
  }

  /** @param {Series} series @returns {import("./planes.js").Plane[]} */
  #planes(series) {
    if (this.#view === "stack" || !series.volumetric) return [ownPlane(series)];
    const planes = planesOf(series);
    return this.#view === "all" ? planes : planes.filter(({name}) => name === this.#view);
  }

  /** @param {import("./planes.js").Plane} plane */
  #pane(plane) {
    const pane = new Pane(plane);
    attach(pane, {
      tool: () => this.#tool,
      scroll: (on, slices) => this.#scroll(on, slices),
      pan: (on, x, y) => this.#move(on, x, y),
      zoom: (on, factor, around) => this.#zoom(on, factor, around),
      window: (right, down) => this.#drag(right, down),
      click: (on, place, positive) => this.#click(on, place, positive),
      hover: (on, place) => this.#hover(on, place),
    });
    attachKeys(pane, {
      scroll: (on, slices) => this.#scroll(on, slices),
      end: (on, last) => this.#scroll(on, last ? on.plane.count : -on.plane.count),
      zoom: (on, factor) => this.#zoom(on, factor),
      step: (on, right, down) => this.#step(on, right, down),
      pick: (_, positive) => this.#tool === "point" && this.#pick(this.#scene?.cursor ?? null, positive),
      preset: (index) => this.#preset(index),
      tool: (tool) => this.setTool(tool),
      overlays: () => this.setOverlaid(!this.#scene?.overlaid),
      invert: () => this.setInverted(!this.#scene?.inverted),
      smooth: () => this.setSmooth(!this.#scene?.smooth),
      notes: () => this.setNoted(!this.#scene?.noted),
      reset: () => this.reset(),
    });
    return pane;
  }

  /** @param {Pane} pane @param {number} slices */
  #scroll(pane, slices) {
    if (!this.#scene) return;
    const voxel = [...this.#scene.cursor];
    voxel[pane.plane.axis] += slices;
    this.goTo(voxel);
  }

  /** @param {Pane} pane @param {number} x @param {number} y */
  #move(pane, x, y) {
    pane.pan = [pane.pan[0] + x, pane.pan[1] + y];
    this.#invalidate();
  }

  /** @param {Pane} pane @param {number} factor @param {[number, number]} [around] */
  #zoom(pane, factor, around) {
    pane.zoomTo(pane.zoom * factor, around);
    this.#invalidate();
  }

  /** A wider window to the right, a darker picture upwards. @param {number} right @param {number} down */
  #drag(right, down) {
    const window = this.#scene?.window;
    if (!window) return;
    const width = Math.max(window.width * NARROWEST, window.width * 2 ** (2 * right));
    this.setWindow(window.center + down * window.width, width, {function: window.function});
  }

  /** @param {Pane} pane @param {[number, number]} place @param {boolean} positive */
  #click(pane, [x, y], positive) {
    const scene = this.#scene;
    const voxel = scene && pane.voxelAt(x, y, scene.cursor[pane.plane.axis]);
    if (!voxel) return;
    if (this.#tool === "point") this.#pick(voxel, positive);
    if (scene.crosshair || this.#tool === "point") this.goTo(voxel);
  }

  /** @param {number[] | null} voxel @param {boolean} positive */
  #pick(voxel, positive) {
    if (voxel) this.#tell("pick", {voxel, positive});
  }

  /** @param {Pane} pane @param {[number, number] | null} place */
  #hover(pane, place) {
    const scene = this.#scene;
    if (!scene) return;
    const voxel = place && pane.voxelAt(place[0], place[1], scene.cursor[pane.plane.axis]);
    if (String(voxel) === String(scene.hover)) return;
    scene.hover = voxel;
    this.#invalidate();
    const {series} = scene;
    const lps = voxel && series.affine && toPatient(series.affine, voxel);
    this.#tell("cursor", {voxel, value: voxel && series.value(voxel), units: series.units, lps});
  }

  /** Move the cursor by voxels of a pane where it is shown, else the picture. @param {Pane} pane @param {number} right @param {number} down */
  #step(pane, right, down) {
    const scene = this.#scene;
    if (!scene) return;
    if (!this.#aims) return this.#move(pane, -right * PAN_STEP, -down * PAN_STEP);
    const [x, y] = toPlane(pane.plane, scene.cursor);
    this.goTo(toVoxel(pane.plane, x + right, y + down, scene.cursor[pane.plane.axis]));
  }

  /** True while the cursor is a place within the planes, not their number alone. */
  get #aims() {
    return this.#panes.length > 1 || this.#tool === "point";
  }

  /** @param {number} index */
  #preset(index) {
    const window = this.presets[index];
    if (window) this.setWindow(window.center, window.width, window);
  }

  /** Change the look of values. @param {(scene: Scene) => void} change */
  #change(change) {
    const scene = this.#scene;
    if (!scene) return;
    change(scene);
    scene.painter = painterOf(scene);
    this.#invalidate();
  }

  #invalidate() {
    this.#pending ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#pending = 0;
    const scene = this.#scene;
    if (!scene) return;
    scene.crosshair = this.#aims;
    for (const pane of this.#panes) {
      pane.measure();
      if (!pane.width || !pane.height) continue;
      pane.draw(scene);
      this.#describe(pane, scene);
    }
  }

  /** Say for those who do not see the canvas what it shows. @param {Pane} pane @param {Scene} scene */
  #describe({canvas, plane}, {series, cursor}) {
    const index = cursor[plane.axis] + 1;
    const words = {
      "aria-label": [series.modality, series.description, series.volumetric ? plane.name : ""].filter(Boolean).join(" "),
      "aria-valuemin": "1",
      "aria-valuemax": String(plane.count),
      "aria-valuenow": String(index),
      "aria-valuetext": `${index} of ${plane.count}`,
    };
    for (const [name, text] of Object.entries(words)) {
      if (canvas.getAttribute(name) !== text) canvas.setAttribute(name, text);
    }
  }

  /** @param {string} type @param {object} [detail] */
  #tell(type, detail = this.#facts(type)) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }

  /** @param {string} type */
  #facts(type) {
    const scene = this.#scene;
    if (type === "window") return {...scene?.window, inverted: scene?.inverted};
    return {view: this.#view, tool: this.#tool, cursor: this.cursor, overlaid: scene?.overlaid};
  }
}

/** @param {Series} series @returns {Scene} */
function sceneOf(series) {
  const [slices, rows, columns] = series.shape;
  /** @type {Scene} */
  const scene = {
    series,
    cursor: [slices >> 1, rows >> 1, columns >> 1],
    hover: null,
    window: firstWindow(series),
    painter: () => {},
    inverted: false,
    smooth: true,
    overlays: [],
    overlaid: true,
    noted: true,
    crosshair: false,
    version: 0,
    outlines: new OutlineCache(),
  };
  scene.painter = painterOf(scene);
  return scene;
}

/** @param {{series: Series, window: Window, inverted: boolean}} scene @returns {Scene["painter"]} */
const painterOf = ({series, window, inverted}) =>
  series.colour ? () => {} : painter(window, series.slices[0].pixels, series.inverted !== inverted);
