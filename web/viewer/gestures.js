// Pointer, wheel and touch on a pane, as calls of what they mean.

/** @typedef {import("./pane.js").Pane} Pane */
/** @typedef {"scroll" | "window" | "pan" | "zoom" | "point" | "length"} Tool */

/**
 * @typedef {object} Actions
 * @property {() => Tool} tool the tool of the main button
 * @property {(pane: Pane, slices: number) => void} scroll
 * @property {(pane: Pane, x: number, y: number) => void} pan pixels of CSS
 * @property {(pane: Pane, factor: number, around: [number, number]) => void} zoom
 * @property {(right: number, down: number) => void} window parts of a pane's size
 * @property {(pane: Pane, place: [number, number], positive: boolean) => void} click
 * @property {(pane: Pane, from: [number, number], to: [number, number]) => void} measure while a length is dragged
 * @property {() => void} measured at its end
 * @property {(pane: Pane, place: [number, number] | null) => void} hover null as the pointer leaves
 */

/** Pixels of CSS: a pointer that moved less has clicked. */
const SLACK = 4;

/** Pixels of CSS that are dragged for one slice, at most. */
const DRAG = 8;

/** Pixels of a wheel for one slice, and for a doubled magnification. */
const WHEEL = 40;
const WHEEL_ZOOM = 400;

/** Pixels of CSS that are dragged for a doubled magnification. */
const ZOOM = 120;

/** Pixels of a wheel's line and page, for those that count so. */
const UNITS = [1, 40, 400];

/**
 * @typedef {object} Drag
 * @property {Map<number, [number, number]>} pointers the last place of each that is down
 * @property {Tool} tool
 * @property {[number, number]} from the place of the first pointer as it went down
 * @property {number} way pixels of CSS moved in all
 * @property {number} rest of a slice
 * @property {boolean} positive
 */

/**
 * Call actions for what a person does on a pane.
 * @param {Pane} pane
 * @param {Actions} actions
 */
export function attach(pane, actions) {
  const {canvas} = pane;
  /** @type {Drag} */
  const drag = {pointers: new Map(), tool: "scroll", from: [0, 0], way: 0, rest: 0, positive: true};
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!drag.pointers.size) Object.assign(drag, {from: placeOf(event), way: 0, rest: 0, tool: toolOf(event, actions), positive: isPositive(event)});
    drag.pointers.set(event.pointerId, placeOf(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const [before, after] = [drag.pointers.get(event.pointerId), placeOf(event)];
    if (!before) return actions.hover(pane, after);
    if (drag.pointers.size > 1) pinch(pane, actions, drag, event.pointerId, after);
    else move(pane, actions, drag, [after[0] - before[0], after[1] - before[1]], after);
    drag.pointers.set(event.pointerId, after);
  });
  canvas.addEventListener("pointerup", (event) => {
    const clicked = drag.pointers.size === 1 && drag.way < SLACK;
    if (!drag.pointers.delete(event.pointerId)) return;
    if (clicked) actions.click(pane, placeOf(event), drag.positive);
    else if (drag.tool === "length" && !drag.pointers.size) actions.measured();
  });
  canvas.addEventListener("pointercancel", (event) => drag.pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => actions.hover(pane, null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  attachWheel(pane, actions);
}

/** @param {Pane} pane @param {Actions} actions */
function attachWheel(pane, actions) {
  let rest = 0;
  pane.canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * UNITS[event.deltaMode];
    if (event.ctrlKey) return actions.zoom(pane, 2 ** (-pixels / WHEEL_ZOOM), placeOf(event));
    rest += Math.abs(pixels) >= WHEEL ? Math.sign(pixels) * WHEEL : pixels;
    const slices = Math.trunc(rest / WHEEL);
    rest -= slices * WHEEL;
    if (slices) actions.scroll(pane, slices);
  }, {passive: false});
}

/**
 * @param {Pane} pane
 * @param {Actions} actions
 * @param {Drag} drag
 * @param {[number, number]} way
 * @param {[number, number]} place
 */
function move(pane, actions, drag, [right, down], place) {
  drag.way += Math.hypot(right, down);
  if (drag.way < SLACK) return;
  if (drag.tool === "pan") actions.pan(pane, right, down);
  if (drag.tool === "zoom") actions.zoom(pane, 2 ** (-down / ZOOM), [pane.width / 2, pane.height / 2]);
  if (drag.tool === "length") actions.measure(pane, drag.from, place);
  if (drag.tool === "window") actions.window(right / pane.width, down / pane.height);
  if (drag.tool === "scroll") {
    drag.rest += down / Math.min(DRAG, Math.max(1, pane.height / pane.plane.count));
    const slices = Math.trunc(drag.rest);
    drag.rest -= slices;
    if (slices) actions.scroll(pane, slices);
  }
  actions.hover(pane, place);
}

/** Two fingers pan and zoom. @param {Pane} pane @param {Actions} actions @param {Drag} drag @param {number} id @param {[number, number]} after */
function pinch(pane, actions, drag, id, after) {
  const before = /** @type {[number, number]} */ (drag.pointers.get(id));
  const other = [...drag.pointers].find(([key]) => key !== id)?.[1] ?? before;
  const distance = (/** @type {number[]} */ [x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
  drag.way += SLACK;
  actions.pan(pane, (after[0] - before[0]) / 2, (after[1] - before[1]) / 2);
  actions.zoom(pane, distance(after) / distance(before), [(after[0] + other[0]) / 2, (after[1] + other[1]) / 2]);
}

/** The right button zooms, the middle one pans. @param {PointerEvent} event @param {Actions} actions @returns {Tool} */
function toolOf(event, actions) {
  if (event.button === 1) return "pan";
  return event.button === 2 && actions.tool() !== "point" ? "zoom" : actions.tool();
}

/** @param {PointerEvent} event @returns {boolean} */
const isPositive = ({button, shiftKey, altKey}) => button === 0 && !shiftKey && !altKey;

/** @param {MouseEvent} event @returns {[number, number]} pixels of CSS on the canvas */
const placeOf = ({offsetX, offsetY}) => [offsetX, offsetY];
