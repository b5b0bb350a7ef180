// The panes of a viewer as one picture.

/**
 * @param {HTMLElement} element that holds the panes
 * @param {import("./pane.js").Pane[]} panes
 * @returns {Promise<Blob>} a PNG in the pixels of the screen
 */
export function savePanes(element, panes) {
  const frame = element.getBoundingClientRect();
  const density = panes.length ? panes[0].canvas.width / panes[0].width : 1;
  const canvas = new OffscreenCanvas(Math.max(1, frame.width * density), Math.max(1, frame.height * density));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (const pane of panes) {
    const {left, top} = pane.canvas.getBoundingClientRect();
    context.drawImage(pane.canvas, (left - frame.left) * density, (top - frame.top) * density);
  }
  return canvas.convertToBlob({type: "image/png"});
}
