// Files of an answer: masks as .npy, the view as PNG, DICOM objects and an archive as the gateway makes them.
import {save} from "./dom.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").GridFinding} GridFinding */

/** numpy's format 1.0: the header's length is a multiple of 64 (numpy.lib.format). @param {GridFinding} finding @returns {Blob} */
export function npy({data, shape}) {
  const text = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const head = new Uint8Array(10 + length).fill(32);
  head.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, length & 255, length >> 8]);
  head.set(new TextEncoder().encode(text), 10);
  head[head.length - 1] = 10;
  return new Blob([head, /** @type {Uint8Array<ArrayBuffer>} */ (data)], {type: "application/octet-stream"});
}

/** A name for a file, of letters that every system takes. @param {string} text */
export const fileName = (text) => text.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 60) || "answer";

/** @param {GridFinding} finding */
export const saveMask = (finding) => save(npy(finding), `${fileName(finding.name)}.npy`);

/** @param {Answer} answer */
export const saveJSON = (answer) => save(new Blob([JSON.stringify(answer.document, null, 2)], {type: "application/json"}), "response.json");

/** The receipt as JSON, to replay and to verify (docs/audit.md). @param {Answer} answer */
export function saveReceipt({receipt}) {
  const text = atob(/** @type {string} */ (receipt).replace(/-/g, "+").replace(/_/g, "/"));
  save(new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], {type: "application/json"}), "receipt.json");
}

/** Ask the gateway for the answer in another form. @param {Answer} answer @param {string} accept @param {string} stem */
export async function saveAs(answer, accept, stem) {
  const blob = await answer.again?.(accept);
  if (!blob) return;
  const ending = /^application\/(dicom|zip)|^image\/png/.exec(blob.type)?.[0];
  save(blob, `${stem}${ending === "application/dicom" ? ".dcm" : ending === "image/png" ? ".png" : ending === "application/zip" ? ".zip" : ".multipart"}`);
}
