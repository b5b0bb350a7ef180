// Files of an answer: masks as .npy, the view as PNG, DICOM objects and an archive as the gateway makes them.
import {save} from "./dom.js";
import {decodeRelated} from "./related.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").GridFinding} GridFinding */

/** @type {Record<string, string>} */
const ENDINGS = {"application/dicom": ".dcm", "application/zip": ".zip", "application/x-nifti": ".nii.gz", "image/png": ".png"};

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
  const blob = /** @type {Blob} */ (await answer.again?.(accept));
  const ending = ENDINGS[blob.type];
  if (ending) return save(blob, stem + ending);
  const objects = decodeRelated(new Uint8Array(await blob.arrayBuffer()), blob.type).filter(({type}) => type === "application/dicom");
  if (accept !== "application/dicom" || !objects.length) throw new Error("The gateway has no such form of this answer.");
  objects.forEach(({bytes, type}, at) => save(new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)], {type}), `${stem}-${at + 1}.dcm`));
}
