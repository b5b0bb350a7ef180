// Click sessions: each click is answered with what it changes of the region (docs/sessions.md).
import {Problem} from "./api.js";
import {button, fill, h} from "./dom.js";
import {referenceOf} from "./preflight.js";
import {ask} from "./questions.js";
import {encodeRelated} from "./related.js";
import {answerOf, upload} from "./running.js";

/** @typedef {import("./running.js").Job} Job */
/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("../viewer/viewer.js").Viewer} Viewer */
/** @typedef {Record<string, any>} Words */

/** An open session, and the region as it is now. Inputs are sent one after another. */
export class ClickSession {
  /** @type {Uint8Array | null} */
  mask = null;
  /** @type {number[]} */
  shape = [];
  sequence = 0;
  voxels = 0;
  /** @type {Words} */
  words = {};
  #queue = Promise.resolve();
  /** A page that is left gives the session's place back. */
  #leave = () => this.close();

  /** @param {Job} job */
  constructor(job) {
    this.job = job;
    this.began = Date.now();
    addEventListener("pagehide", this.#leave);
  }

  /** @param {boolean} reference the study is stored: name it */
  async open(reference) {
    const {api, card, study, uid, parameters, signal, tell} = this.job;
    const path = `sessions?route=${encodeURIComponent(card.route)}`;
    if (reference) {
      await upload(this.job);
      tell("Opening the session", null);
      return this.#take(await api.json(path, {json: {...parameters, ...referenceOf(study, uid)}, signal}));
    }
    const {type, body} = encodeRelated(parameters, study.files(uid));
    const onUpload = (/** @type {number} */ share) => (share < 1 ? tell("Sending the study", share) : tell("Opening the session", null));
    const {bytes} = await api.send(path, {method: "POST", body, headers: {"Content-Type": type}, signal, onUpload});
    return this.#take(JSON.parse(new TextDecoder().decode(bytes)));
  }

  /** Send an input once the ones before it are answered. @param {Words} json */
  input(json) {
    const sent = this.#queue.then(async () => {
      try {
        await this.#take(await this.job.api.json(`${this.#path}/input`, {json: {...json, after: this.sequence}}));
      } catch (error) {
        if (error instanceof Problem && error.code === "session-conflict") await this.#read();
        throw error;
      }
    });
    this.#queue = sent.catch(() => undefined);
    return sent;
  }

  /** Accept the region; null where the model asks on. @returns {Promise<Answer | null>} */
  async finish() {
    await this.#queue;
    const {api, card, parameters} = this.job;
    try {
      return answerOf(await api.send(`${this.#path}/finish`, {method: "POST"}), card, parameters, this.began);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "session-conflict") throw error;
      this.words = await api.json(this.#path);
      await this.#read();
      return null;
    }
  }

  /** End the session, finished or not. */
  close() {
    removeEventListener("pagehide", this.#leave);
    if (this.words.id) this.job.api.send(this.#path, {method: "DELETE", keepalive: true}).catch(() => undefined);
  }

  get #path() {
    return `sessions/${this.words.id}`;
  }

  async #read() {
    const {region} = await this.job.api.json(`${this.#path}/region?since=0`);
    if (!region) this.mask = null;
    await this.#take({...this.words, region});
  }

  /** @param {Words} region */
  async #apply(region) {
    const {mask, added} = await apply(region, this.mask);
    this.voxels = added + (region.since === 0 ? 0 : this.voxels);
    this.mask = mask;
  }

  /** @param {Words} words */
  async #take(words) {
    this.words = words;
    const {region} = words;
    if (region && region.since !== 0 && region.since !== this.sequence) return this.#read();
    if (region) await this.#apply(region);
    this.sequence = region?.sequence ?? words.sequence;
    this.shape = region?.shape ?? this.shape;
    if (words.state === "failed" && words.problem) throw new Problem(words.problem.status, words.problem, "");
  }
}

/** The region with a change, and how many voxels it has more. @param {Words} region @param {Uint8Array | null} before @returns {Promise<{mask: Uint8Array, added: number}>} */
export async function apply({since, shape, box, encoding, data}, before) {
  const [depth, height, width] = shape;
  const mask = since === 0 || !before ? new Uint8Array(depth * height * width) : before;
  if (!box) return {mask, added: 0};
  const packed = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const bytes = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  const [[s, r, c], [, lastRow, lastColumn]] = box;
  const rows = lastRow - r, columns = lastColumn - c;
  const place = (/** @type {number} */ at) => ((s + Math.floor(at / (rows * columns))) * height + r + (Math.floor(at / columns) % rows)) * width + c + (at % columns);
  let added = 0;
  const set = (/** @type {number} */ voxel, /** @type {number} */ value) => {
    added += Number(value > 0) - Number(mask[voxel] > 0);
    mask[voxel] = value;
  };
  if (encoding === "values") {
    new Uint8Array(bytes).forEach((value, at) => set(place(at), value));
    return {mask, added};
  }
  const view = new DataView(bytes);
  for (let at = 0, voxel = 0; at < bytes.byteLength; at += 12) {
    voxel += view.getUint32(at, true);
    for (let left = view.getUint32(at + 4, true); left > 0; left--, voxel++) set(place(voxel), view.getUint32(at + 8, true));
  }
  return {mask, added};
}

/** The model asks on. */
const MORE = Symbol("more");

/** What a person does in a session. */
export class Clicking {
  #session;
  #viewer;
  #place;
  #changed;
  /** @type {{voxel: number[], positive: boolean}[][]} */
  #clicks = [];
  #negative = false;
  #words = h("p", {class: "status", role: "status"});

  /**
   * @param {ClickSession} session @param {Viewer} viewer @param {HTMLElement} place
   * @param {(clicks: {voxel: number[], positive: boolean}[], milliseconds: number) => void} changed  after each answer
   */
  constructor(session, viewer, place, changed) {
    this.#session = session;
    this.#viewer = viewer;
    this.#place = place;
    this.#changed = changed;
  }

  /** Let the person click until the region is accepted; resolves with the answer, or null where it was given up. @param {(error: unknown) => void} failed @returns {Promise<Answer | null>} */
  async run(failed) {
    try {
      for (;;) {
        const {state, question} = this.#session.words;
        if (state !== "waiting") return await this.#session.finish();
        if (question?.kind === "clicks") {
          const answer = await this.#click(failed);
          if (answer !== MORE) return answer;
        } else {
          await this.#session.input(await ask(this.#place, this.#viewer, question, this.#session.job.signal));
        }
      }
    } finally {
      fill(this.#place);
      this.#session.close();
    }
  }

  /** Let the person click into one region. @param {(error: unknown) => void} failed @returns {Promise<Answer | null | typeof MORE>} */
  #click(failed) {
    const clean = new AbortController();
    this.#clicks = [];
    this.#negative = false;
    return /** @type {Promise<Answer | null | typeof MORE>} */ (new Promise((resolve, reject) => {
      const attempt = (/** @type {() => Promise<any>} */ work) => work().catch((error) => (error instanceof Problem && error.code === "session-gone" ? reject(error) : failed(error)));
      this.#viewer.setTool("point");
      this.#viewer.addEventListener("pick", (event) => {
        const {voxel, positive} = /** @type {CustomEvent} */ (event).detail;
        attempt(() => this.#add(voxel, positive !== this.#negative));
      }, {signal: clean.signal});
      this.#session.job.signal.addEventListener("abort", () => resolve(null), {once: true});
      const add = h("input", {type: "radio", name: "sign", checked: true, onchange: () => (this.#negative = false)});
      const cut = h("input", {type: "radio", name: "sign", onchange: () => (this.#negative = true)});
      fill(this.#place, h("div", {class: "question", role: "group", "aria-label": "Clicks"},
        h("p", {class: "strong"}, this.#session.words.question?.question ?? "Click into the region."),
        h("p", {class: "hint"}, "Click what belongs to the region; right-click, or click with Shift, what does not. By keyboard: Shift and arrows, then Enter."),
        h("div", {class: "row", role: "radiogroup", "aria-label": "A click"}, h("label", {class: "check"}, add, "adds"), h("label", {class: "check"}, cut, "removes")),
        this.#words,
        h("div", {class: "row"},
          button("Undo", () => attempt(() => this.#undo())),
          button("Clear", () => attempt(() => this.#reset())),
          button("Accept", () => attempt(async () => resolve((await this.#session.finish()) ?? MORE)), {class: "primary"}),
          button("Give up", () => resolve(null)))));
      this.#tell(0);
      this.#place.scrollIntoView({block: "nearest"});
    })).finally(() => clean.abort());
  }

  /** @param {number[]} voxel @param {boolean} positive */
  async #add(voxel, positive) {
    await this.#timed({points: [{at: voxel, positive}]});
    this.#clicks.push([{voxel, positive}]);
    this.#show();
  }

  async #undo() {
    if (!this.#clicks.length) return;
    await this.#timed({undo: 1});
    this.#clicks.pop();
    this.#show();
  }

  async #reset() {
    await this.#timed({reset: true});
    this.#clicks = [];
    this.#show();
  }

  #milliseconds = 0;

  /** @param {Words} json */
  async #timed(json) {
    const began = performance.now();
    await this.#session.input(json);
    this.#milliseconds = performance.now() - began;
  }

  #show() {
    this.#changed(this.#clicks.flat(), this.#milliseconds);
    this.#tell(this.#milliseconds);
  }

  /** @param {number} milliseconds */
  #tell(milliseconds) {
    const {points = 0} = this.#session.words;
    const count = `${points} ${points === 1 ? "click" : "clicks"}, ${this.#session.voxels.toLocaleString("en")} voxels`;
    fill(this.#words, points ? `${count}, answered in ${Math.round(milliseconds)} ms` : "No click yet");
  }
}
