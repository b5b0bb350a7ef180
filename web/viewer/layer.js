// A buffer of pixels that a canvas scales when it is drawn.

/** Pixels of one plane, painted once for each change. */
export class Layer {
  canvas = document.createElement("canvas");
  context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
  /** What is painted, so that the same is not painted twice. @type {unknown[]} */
  key = [];
  /** @type {ImageData | null} */
  #image = null;

  /**
   * @param {number} width
   * @param {number} height
   * @param {unknown[]} key
   * @param {(out: Uint32Array) => void} fill
   */
  paint(width, height, key, fill) {
    if (key.length === this.key.length && key.every((part, index) => part === this.key[index])) return;
    this.key = key;
    if (!this.#image || this.#image.width !== width || this.#image.height !== height) {
      Object.assign(this.canvas, {width, height});
      this.#image = new ImageData(width, height);
    }
    fill(new Uint32Array(this.#image.data.buffer));
    this.context.putImageData(this.#image, 0, 0);
  }
}
