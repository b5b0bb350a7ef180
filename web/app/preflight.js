// Which models accept the study, before anything is run: POST /preflight, with the heads of the files or by reference.
import {DICOM, typeOf} from "./files.js";
import {encodeRelated} from "./related.js";

/** @typedef {import("./types.js").Verdict} Verdict */
/** @typedef {import("./study.js").Study} Study */

/** Bytes at the start of a file in which its pixels are looked for: headers of single images are much shorter. */
const HEAD = 1 << 18;

/**
 * The verdict of each model by its route.
 * @param {import("./api.js").Api} api @param {Study} study @param {string} uid of a series or a study @param {boolean} reference name it, since it is stored
 * @param {Record<string, any>} stated  what the request would state of files that are no DICOM
 * @param {AbortSignal} signal @returns {Promise<Map<string, Verdict>>}
 */
export async function preflight(api, study, uid, reference, stated, signal) {
  const answer = reference ? await api.json("preflight", {json: referenceOf(study, uid), signal}) : await sent(api, study.files(uid), stated, signal);
  return new Map(answer.models.map((/** @type {any} */ each) => [each.model, {route: each.model, accepted: each.accepted, reasons: each.reasons}]));
}

/** The member of a request that names what is stored. @param {Study} study @param {string} uid @returns {Record<string, string>} */
export const referenceOf = (study, uid) => (study.headers(uid)[0]?.study_instance_uid === uid ? {study: uid} : {series: uid});

/** @param {import("./api.js").Api} api @param {File[]} files @param {Record<string, any>} stated @param {AbortSignal} signal */
async function sent(api, files, stated, signal) {
  const heads = await Promise.all(files.map(headOf));
  const {type, body} = encodeRelated(stated, heads);
  return api.json("preflight", {method: "POST", body, headers: {"Content-Type": type}, signal});
}

/** A file up to its pixels, or whole where they are not found. @param {File} file @returns {Promise<Blob>} */
async function headOf(file) {
  if (typeOf(file.name) !== DICOM) return file;
  const bytes = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  for (let at = bytes.lastIndexOf(0xe0, bytes.length - 12); at >= 0; at = at ? bytes.lastIndexOf(0xe0, at - 1) : -1) {
    if (isPixels(bytes, at, file.size)) return file.slice(0, at);
  }
  return file;
}

/** Return true if Pixel Data (7FE0,0010) begins here, in little-endian explicit or implicit VR (PS3.5 7.1). @param {Uint8Array} bytes @param {number} at @param {number} size */
function isPixels(bytes, at, size) {
  if (bytes[at + 1] !== 0x7f || bytes[at + 2] !== 0x10 || bytes[at + 3] !== 0) return false;
  const explicit = bytes[at + 4] === 0x4f && (bytes[at + 5] === 0x42 || bytes[at + 5] === 0x57) && bytes[at + 6] === 0 && bytes[at + 7] === 0;
  const length = new DataView(bytes.buffer, at + 4, 4).getUint32(0, true);
  return explicit || (length > 0 && at + 8 + length <= size && at + 8 + length > size - HEAD);
}
