// Keys on a pane: a table of what each does.

/** @typedef {import("./pane.js").Pane} Pane */

/**
 * @typedef {object} Commands
 * @property {(pane: Pane, slices: number) => void} scroll
 * @property {(pane: Pane, end: boolean) => void} end to the first plane or the last
 * @property {(pane: Pane, factor: number) => void} zoom
 * @property {(pane: Pane, right: number, down: number) => void} step voxels of the cursor, or pixels while it is not shown
 * @property {(pane: Pane, positive: boolean) => void} pick at the cursor: a click, or an end of a length
 * @property {() => void} erase the last length
 * @property {(index: number) => void} preset
 * @property {(tool: import("./gestures.js").Tool) => void} tool
 * @property {() => void} overlays shown or not
 * @property {() => void} invert
 * @property {() => void} smooth
 * @property {() => void} notes shown or not
 * @property {() => void} reset
 */

/** Planes of PageUp and PageDown. */
const PAGE = 10;
const ZOOM = 1.25;

/** What a key does; `docs/viewer.md` has the table for people. @type {Record<string, (commands: Commands, pane: Pane, event: KeyboardEvent) => void>} */
const KEYS = {
  ArrowUp: (commands, pane, {shiftKey}) => (shiftKey ? commands.step(pane, 0, -1) : commands.scroll(pane, -1)),
  ArrowDown: (commands, pane, {shiftKey}) => (shiftKey ? commands.step(pane, 0, 1) : commands.scroll(pane, 1)),
  ArrowLeft: (commands, pane, {shiftKey}) => (shiftKey ? commands.step(pane, -1, 0) : commands.scroll(pane, -1)),
  ArrowRight: (commands, pane, {shiftKey}) => (shiftKey ? commands.step(pane, 1, 0) : commands.scroll(pane, 1)),
  PageUp: (commands, pane) => commands.scroll(pane, -PAGE),
  PageDown: (commands, pane) => commands.scroll(pane, PAGE),
  Home: (commands, pane) => commands.end(pane, false),
  End: (commands, pane) => commands.end(pane, true),
  "+": (commands, pane) => commands.zoom(pane, ZOOM),
  "=": (commands, pane) => commands.zoom(pane, ZOOM),
  "-": (commands, pane) => commands.zoom(pane, 1 / ZOOM),
  Enter: (commands, pane, {shiftKey}) => commands.pick(pane, !shiftKey),
  Delete: (commands) => commands.erase(),
  Backspace: (commands) => commands.erase(),
  " ": (commands) => commands.overlays(),
  s: (commands) => commands.tool("scroll"),
  w: (commands) => commands.tool("window"),
  p: (commands) => commands.tool("pan"),
  z: (commands) => commands.tool("zoom"),
  c: (commands) => commands.tool("point"),
  m: (commands) => commands.tool("length"),
  i: (commands) => commands.invert(),
  b: (commands) => commands.smooth(),
  t: (commands) => commands.notes(),
  r: (commands) => commands.reset(),
};

/**
 * Obey the keys on a pane that has the focus.
 * @param {Pane} pane
 * @param {Commands} commands
 */
export function attachKeys(pane, commands) {
  pane.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (/^[1-9]$/.test(key)) commands.preset(Number(key) - 1);
    else if (Object.hasOwn(KEYS, key)) KEYS[key](commands, pane, event);
    else return;
    event.preventDefault();
  });
}
