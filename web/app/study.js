// The study that is open: its series, as their pictures arrive from files or from the store.
import {parsePicture} from "../viewer/pictures.js";
import {collect} from "../viewer/series.js";
import {Problem, isAborted} from "./api.js";
import {DICOM, typeOf} from "./files.js";

/** @typedef {import("../viewer/pictures.js").Header} Header */
/** @typedef {import("../viewer/series.js").Series} Series */
/** @typedef {{name: string, file: File | null, address: string}} Source  a file, or the address of a stored picture */
/** @typedef {{name: string, words: string, requestId: string, lost: Source | null}} Refused  lost: the gateway did not judge it */

/** Pictures on their way at once: a browser has six connections to a server, and needs some for other requests. */
const AT_ONCE = 4;
/** Dispatches `picture` after each picture and refusal, and `loaded` at the end. */
export class Study extends EventTarget {
  /** @type {Series[]} */
  series = [];
  /** @type {Refused[]} */
  refused = [];
  total = 0;
  done = 0;
  /** @type {Map<string, {file: File | null, header: Header}>} by SOP Instance UID */
  sources = new Map();
  #stop = new AbortController();

  /** @param {import("./api.js").Api} api @param {boolean} stored true for a study of the store */
  constructor(api, stored) {
    super();
    this.api = api;
    this.stored = stored;
  }

  /** The store takes DICOM alone. */
  get storable() {
    return this.stored || [...this.sources.values()].every(({file}) => file && typeOf(file.name) === DICOM);
  }

  get loaded() {
    return this.done === this.total;
  }

  /** Fetch no more. */
  close() {
    this.#stop.abort();
  }

  /** Load pictures in this order, a few at a time; the first one alone, so that it is there early. @param {Source[]} sources */
  async load(sources) {
    this.total += sources.length;
    const waiting = sources.slice();
    const first = waiting.shift();
    if (first) await this.#fetch(first);
    const work = async () => {
      for (let next = waiting.shift(); next && !this.#stop.signal.aborted; next = waiting.shift()) await this.#fetch(next);
    };
    await Promise.all(Array.from({length: AT_ONCE}, work));
    for (const series of this.series) series.arriving = false;
    if (!this.#stop.signal.aborted) this.dispatchEvent(new Event("loaded"));
  }

  /** Load those once more that the gateway did not judge. */
  async again() {
    const lost = this.refused.flatMap(({lost: source}) => source ?? []);
    this.refused = this.refused.filter((each) => !each.lost);
    this.done -= lost.length;
    this.total -= lost.length;
    await this.load(lost);
  }

  /** @param {Source} source */
  async #fetch({name, file, address}) {
    try {
      const {bytes} = await this.api.send(file ? "ui/pictures" : address, {body: file, headers: file ? {"Content-Type": typeOf(name)} : {}, signal: this.#stop.signal});
      const picture = parsePicture(bytes);
      collect(this.series, picture).arriving = true;
      this.sources.set(picture.header.sop_instance_uid, {file, header: picture.header});
    } catch (error) {
      if (isAborted(error)) return;
      const known = error instanceof Problem;
      const lost = known && isPassing(error.status) ? {name, file, address} : null;
      this.refused.push({name, words: error instanceof Error ? error.message : String(error), requestId: known ? error.requestId : "", lost});
    }
    this.done++;
    this.dispatchEvent(new Event("picture"));
  }

  /** The headers of all instances of one study, or of one series. @param {string} uid @returns {Header[]} */
  headers(uid) {
    return [...this.sources.values()].map(({header}) => header).filter((header) => header.study_instance_uid === uid || header.series_instance_uid === uid);
  }

  /** The files of a study or of a series, in name order. @param {string} uid @returns {File[]} */
  files(uid) {
    const found = [...this.sources.values()].filter(({header}) => header.study_instance_uid === uid || header.series_instance_uid === uid);
    return found.flatMap(({file}) => (file ? [file] : []));
  }
}

/** True for a status that says nothing of the file: no connection, no login, too many requests, a server that fails. @param {number} status */
const isPassing = (status) => status === 0 || status === 401 || status === 429 || status >= 500;

/** A series in words: its number, what it shows and how much of it is there. @param {Series} series */
export function seriesWords({header, shape}) {
  const [slices, rows, columns] = shape;
  return {
    title: header.series_description || header.body_part || "Series without a description",
    facts: [header.modality, header.series_number === null ? "" : `no. ${header.series_number}`, `${slices} ${slices === 1 ? "image" : "images"}`, `${columns} × ${rows}`].filter(Boolean).join(" · "),
  };
}

/** The slice of a series that an image is; -1 where it has none. @param {Series} series @param {string} uid @param {number} frame from 0 */
export const sliceOf = (series, uid, frame) => series.slices.findIndex((slice) => slice.header.sop_instance_uid === uid && slice.frame === frame);
