// multipart/related: the body of a request, and the parts of an answer (docs/contract.md, RFC 2387 on RFC 2046).

import {typeOf} from "./files.js";

/** @typedef {import("./types.js").Part} Part */

/**
 * A body of one JSON object and files, each a part.
 * @param {Record<string, any> | any[]} json @param {Blob[]} files @returns {{type: string, body: Blob}}
 */
export function encodeRelated(json, files) {
  const boundary = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  /** @type {BlobPart[]} */
  const pieces = [`--${boundary}\r\nContent-Type: application/json\r\n\r\n`, JSON.stringify(json), "\r\n"];
  for (const file of files) pieces.push(`--${boundary}\r\nContent-Type: ${typeOf(file instanceof File ? file.name : "")}\r\n\r\n`, file, "\r\n");
  pieces.push(`--${boundary}--\r\n`);
  return {type: `multipart/related; boundary="${boundary}"`, body: new Blob(pieces)};
}

/**
 * The parts of an answer; their bytes are views of `bytes`.
 * @param {Uint8Array} bytes @param {string} contentType @returns {Part[]}
 */
export function decodeRelated(bytes, contentType) {
  const boundary = /boundary="?([^";]+)"?/i.exec(contentType)?.[1];
  if (!boundary) throw new Error("The answer has no boundary.");
  const mark = new TextEncoder().encode(`--${boundary}`);
  const parts = [];
  let start = find(bytes, mark, 0) + mark.length;
  while (start >= mark.length && bytes[start] === 13) {
    const end = find(bytes, mark, start);
    if (end < 0) throw new Error("The answer is truncated.");
    parts.push(part(bytes.subarray(start + 2, end - 2)));
    start = end + mark.length;
  }
  return parts;
}

const BLANK = new Uint8Array([13, 10, 13, 10]);

/** @param {Uint8Array} bytes a part with its headers @returns {Part} */
function part(bytes) {
  const split = find(bytes, BLANK, 0);
  const head = new TextDecoder().decode(bytes.subarray(0, split));
  const field = /** @param {RegExp} pattern */ (pattern) => pattern.exec(head)?.[1]?.trim() ?? "";
  return {name: field(/name="([^"]*)"/i), type: field(/^content-type:([^\r\n]*)/im), bytes: bytes.subarray(split + 4)};
}

/** The first place of `mark` from `from` on, or -1. @param {Uint8Array} bytes @param {Uint8Array} mark @param {number} from */
function find(bytes, mark, from) {
  for (let at = bytes.indexOf(mark[0], from); at >= 0; at = bytes.indexOf(mark[0], at + 1)) {
    let same = 1;
    while (same < mark.length && bytes[at + same] === mark[same]) same++;
    if (same === mark.length) return at;
  }
  return -1;
}
