// What is open: a study, the series that is shown, the answers about it, and what the viewer draws over it.
import {read} from "./answers.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Finding} Finding */
/** @typedef {import("./types.js").Reading} Reading */
/** @typedef {import("./types.js").Config} Config */
/** @typedef {import("./study.js").Study} Study */
/** @typedef {import("../viewer/series.js").Series} Series */
/** @typedef {{answer: Answer, reading: Reading, number: number}} Result */

/** Dispatches `study` (another one, or more of it), `loaded`, `series`, `results`, `drawn`, `ran` (however it ended) and `again` (a run, with its request). */
export class Desk extends EventTarget {
  /** @type {Study | null} */
  study = null;
  /** @type {Result[]} */
  results = [];
  /** Findings of no answer, by what shows them: the region of clicks, a difference. @type {Map<string, Finding[]>} */
  extras = new Map();
  #number = 0;
  #moved = false;

  /** @param {import("./api.js").Api} api @param {Config} config @param {import("../viewer/viewer.js").Viewer} viewer */
  constructor(api, config, viewer) {
    super();
    this.api = api;
    this.config = config;
    this.viewer = viewer;
    viewer.addEventListener("view", () => (this.#moved = true));
  }

  /** The series that is shown. */
  get series() {
    return this.viewer.series;
  }

  /** Return true if the caller has a role; without keys everybody has. @param {string} role */
  may(role) {
    const {caller, authentication} = this.config;
    return !authentication || !!caller && [role, "admin"].some((each) => caller.roles.includes(each));
  }

  /** Return true if models can run on what is open as runs of the store: what it lacks is to be written, and their events read. */
  get hasRuns() {
    const {store, runs} = this.config;
    return store && runs && this.may("read") && (!!this.study?.stored || this.may("write"));
  }

  /** Open a study in place of the one before. @param {Study} study */
  open(study) {
    this.study?.close();
    this.study = study;
    this.results = [];
    this.extras.clear();
    this.viewer.show(null);
    study.addEventListener("picture", () => this.#arrived(study));
    study.addEventListener("loaded", () => study === this.study && this.#loaded());
    this.#tell("results");
    this.#tell("study");
  }

  /** @param {Study} study */
  #arrived(study) {
    if (study !== this.study) return;
    if (!this.series && study.series.length) this.show(study.series[0]);
    else if (this.series) this.viewer.refresh();
    this.#tell("study");
  }

  /** The first picture is there early; the middle of the whole is the better place to begin, unless a person went elsewhere. */
  #loaded() {
    if (this.series && !this.#moved) this.viewer.goTo(this.series.shape.map((side) => side >> 1));
    this.#tell("loaded");
  }

  /** @param {Series} series */
  show(series) {
    this.viewer.show(series);
    this.#moved = false;
    this.#tell("series");
    this.draw();
  }

  /** Show an answer; earlier ones are hidden, since two over each other can hardly be told apart. @param {Answer} answer @returns {Result} */
  add(answer) {
    const series = this.study?.series ?? [];
    const first = this.results.reduce((sum, {reading}) => sum + reading.findings.filter((each) => "data" in each).length, 0);
    for (const result of this.results) setVisible(result, false);
    const result = {answer, reading: read(answer, series, first), number: ++this.#number};
    this.results = [result, ...this.results];
    const here = result.reading.findings.some((finding) => finding.series === this.series?.uid);
    const other = series.find(({uid}) => uid === result.reading.findings[0]?.series);
    if (!here && other) this.show(other);
    this.#tell("results");
    this.draw();
    return result;
  }

  /** Run a model with the request of an earlier run. @param {string} route @param {Record<string, any>} request  the JSON of that run, which names what is stored */
  runAgain(route, request) {
    this.dispatchEvent(new CustomEvent("again", {detail: {route, request}}));
  }

  /** @param {Result} result */
  remove(result) {
    this.results = this.results.filter((each) => each !== result);
    this.#tell("results");
    this.draw();
  }

  /** Draw the findings of the shown series as they are now, those of the newest answer last: over the others. */
  draw() {
    const all = [...this.results.slice().reverse().flatMap(({reading}) => reading.findings), ...[...this.extras.values()].flat()];
    this.viewer.overlays = all.filter(({series}) => series === this.series?.uid);
    this.#tell("drawn");
  }

  /** Go to a voxel of a series. @param {string} uid @param {number[]} voxel */
  goTo(uid, voxel) {
    const series = this.study?.series.find((each) => each.uid === uid);
    if (series && series !== this.series) this.show(series);
    this.viewer.goTo(voxel);
  }

  /** @param {string} name */
  #tell(name) {
    this.dispatchEvent(new Event(name));
  }
}

/** @param {Result} result @param {boolean} visible */
export function setVisible(result, visible) {
  for (const finding of result.reading.findings) finding.visible = visible;
}

/** An answer in words. @param {Result} result */
export const title = ({number, answer}) => `${number}. ${answer.model}${answer.version ? ` ${answer.version}` : ""}`;
