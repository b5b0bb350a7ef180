// Run a model: by a request, or as a run of the store with progress; either can be cancelled.
import {Problem} from "./api.js";
import {newId} from "./dom.js";
import {DICOM} from "./files.js";
import {referenceOf} from "./preflight.js";
import {decodeRelated, encodeRelated} from "./related.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Card} Card */
/** @typedef {import("./study.js").Study} Study */
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./api.js").Received} Received */

/**
 * What is to be run, on what.
 * @typedef {object} Job
 * @property {Api} api
 * @property {Card} card
 * @property {Study} study
 * @property {string} uid of a series, or of the study
 * @property {Record<string, any>} parameters
 * @property {Record<string, any>} [request]  the JSON of an earlier run, to be run again
 * @property {AbortSignal} signal
 * @property {(words: string, share: number | null) => void} tell  progress, 0 to 1 where it is known
 * @property {(question: import("./types.js").Question) => Promise<any>} ask  the answer of the person
 * @property {(text: string, picture: string | null) => void} show  a line or a picture of the model, by its address
 */

/** Instances of one upload, as docs/studies.md advises. */
const CHUNK = 16;

/** Send the study with the request. @param {Job} job @returns {Promise<Answer>} */
export async function byRequest(job) {
  const {api, card, study, uid, parameters, signal, tell} = job;
  const began = Date.now();
  const post = (/** @type {string} */ accept, /** @type {(share: number) => void} */ onUpload) => {
    const {type, body} = encodeRelated(parameters, study.files(uid));
    return api.send(card.route, {method: "POST", body, headers: {"Content-Type": type, Accept: accept, Prefer: "receipt"}, signal, onUpload});
  };
  const received = await post("multipart/related", (share) => (share < 1 ? tell("Sending the study", share) : tell("The model works", null)));
  const answer = answerOf(received, card, parameters, began);
  answer.again = async (accept) => blobOf(await api.send(card.route, {method: "POST", ...again(parameters, study.files(uid), accept)}));
  return answer;
}

/** @param {Record<string, any>} parameters @param {File[]} files @param {string} accept */
function again(parameters, files, accept) {
  const {type, body} = encodeRelated(parameters, files);
  return {body, headers: {"Content-Type": type, Accept: accept}};
}

/** Store what is missing, submit a run, and follow it to its result. @param {Job} job @returns {Promise<Answer>} */
export async function byRun(job) {
  const {api, card, study, uid, parameters, signal, tell} = job;
  const began = Date.now();
  if (!job.request) await upload(job);
  tell("Queued", null);
  const json = job.request ?? {...parameters, ...referenceOf(study, uid)};
  const run = await api.json(`runs?route=${encodeURIComponent(card.route)}`, {json, signal});
  const cancel = () => void api.send(`runs/${run.id}?only=live`, {method: "DELETE"}).catch(() => undefined);
  signal.addEventListener("abort", cancel, {once: true});
  try {
    await follow(job, run.id);
  } finally {
    signal.removeEventListener("abort", cancel);
  }
  const answer = {...(await answerAt(api, `runs/${run.id}/result`, card, parameters)), seconds: (Date.now() - began) / 1000};
  const kept = answer.again;
  // A result is stored as the model gave it: its DICOM objects are made by another request.
  answer.again = async (accept) => (accept === DICOM ? blobOf(await api.send(card.route, {json, headers: {Accept: accept}})) : /** @type {NonNullable<typeof kept>} */ (kept)(accept));
  return answer;
}

/** An answer that is there: of a finished run, or a stored one. @param {Api} api @param {string} path @param {Pick<Card, "route" | "name" | "version">} card @param {Record<string, any>} parameters */
export async function answerAt(api, path, card, parameters) {
  const answer = answerOf(await api.send(path, {headers: {Prefer: "receipt", Accept: "multipart/related"}}), card, parameters, Date.now());
  answer.again = async (accept) => blobOf(await api.send(path, {headers: {Accept: accept}}));
  return answer;
}

/** @param {Received} received */
const blobOf = ({bytes, headers}) => new Blob([bytes], {type: headers.get("Content-Type") ?? ""});

/** Read a response of a model. @param {Received} received @param {Pick<Card, "route" | "name" | "version">} card @param {Record<string, any>} parameters @param {number} began @returns {Answer} */
export function answerOf({headers, bytes}, card, parameters, began) {
  const parts = decodeRelated(new Uint8Array(bytes), headers.get("Content-Type") ?? "");
  const texts = new TextDecoder();
  const named = (/** @type {string} */ name) => texts.decode(parts.find((part) => part.name === name)?.bytes ?? new Uint8Array());
  return {
    id: newId("answer"),
    route: card.route,
    model: decodeURIComponent(headers.get("X-Model") ?? "") || card.name,
    version: decodeURIComponent(headers.get("X-Model-Version") ?? card.version ?? ""),
    parameters,
    document: JSON.parse(named("json-body")),
    parts: parts.filter(({name}) => name.startsWith("elem_")),
    hashes: named("hashes"),
    receipt: headers.get("X-Gateway-Receipt"),
    requestId: headers.get("X-Request-ID") ?? "",
    seconds: (Date.now() - began) / 1000,
    time: new Date(),
    again: null,
  };
}

/** Send the instances that the store lacks: what it has is not sent. @param {Pick<Job, "api" | "study" | "uid" | "signal" | "tell">} job */
export async function upload({api, study, uid, signal, tell}) {
  if (study.stored) return;
  const mine = study.headers(uid).map((header) => ({header, file: study.sources.get(header.sop_instance_uid)?.file})).filter(({file}) => file);
  const entries = mine.map(({header, file}) => ({
    sop_instance_uid: header.sop_instance_uid,
    series_instance_uid: header.series_instance_uid,
    study_instance_uid: header.study_instance_uid,
    size: /** @type {File} */ (file).size,
    sha256: header.digest,
  }));
  tell("Comparing with the store", null);
  const {instances} = await api.json("studies/manifest", {json: entries, signal});
  const missing = entries.flatMap((entry, at) => (instances[at].state === "present" ? [] : [{entry, file: /** @type {File} */ (mine[at].file)}]));
  for (let at = 0; at < missing.length; at += CHUNK) {
    const chunk = missing.slice(at, at + CHUNK);
    const {type, body} = encodeRelated({instances: chunk.map(({entry}) => entry)}, chunk.map(({file}) => file));
    const onUpload = (/** @type {number} */ share) => tell("Sending what the store lacks", (at + share * chunk.length) / missing.length);
    await api.send("studies/instances", {method: "POST", body, headers: {"Content-Type": type}, signal, onUpload});
  }
}

/** Streams of events that are begun for one run after its first: a login that ends closes a stream. */
const MOST_STREAMS = 20;

/** Wait for the end of a run, also over several logins. @param {Job} job @param {string} id @returns {Promise<void>} */
async function follow(job, id) {
  let after = "0";
  for (let streams = 0; streams <= MOST_STREAMS; streams++) {
    const seen = await listen(job, id, after);
    if (seen === null) return;
    after = seen;
    if (hasFinished(await job.api.json(`runs/${id}`, {signal: job.signal}))) return;
  }
  throw new Problem(0, {detail: "The gateway ended the events of this run; look it up among the stored studies."}, "");
}

/**
 * Hear the events of a run as they happen.
 * @param {Job} job @param {string} id @param {string} after  the last event that is known
 * @returns {Promise<string | null>} null at the end of the run; the last event that was heard where the stream was closed
 */
function listen({api, signal, tell, ask, show}, id, after) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(api.address(`runs/${id}/events?after=${after}`));
    const end = (/** @type {() => void} */ done) => {
      source.close();
      done();
    };
    const on = (/** @type {string} */ name, /** @type {(data: any, id: string) => void} */ heard) => source.addEventListener(name, (event) => {
      after = event.lastEventId || after;
      heard(JSON.parse(event.data), event.lastEventId);
    });
    signal.addEventListener("abort", () => end(() => reject(new DOMException("Cancelled.", "AbortError"))), {once: true});
    on("progress", ({done, total, text}) => tell(text || "The model works", total ? done / total : null));
    on("log", ({text}) => show(text, null));
    on("preview", ({text, href}) => show(text ?? "", href ? api.address(href) : null));
    on("question", (question, number) => {
      ask(question).then((json) => api.send(`runs/${id}/input?question=${number}`, {json, signal})).catch((error) => end(() => reject(error)));
    });
    on("state", (run) => {
      try {
        if (hasFinished(run)) end(() => resolve(null));
        else tell(STATES[run.state] ?? run.state, null);
      } catch (error) {
        end(() => reject(error));
      }
    });
    let broken = false;
    source.onopen = () => broken && tell("The gateway answers again", null);
    source.onerror = () => {
      broken = source.readyState === EventSource.CONNECTING;  // the browser tries again by itself, and the gateway repeats what it missed
      if (broken) tell("The gateway does not answer; the page tries again, and the run goes on there", null);
      else end(() => resolve(after));
    };
  });
}

/** Return true for a run that has finished, false for one that goes on; throws as it ended otherwise. @param {{state: string, problem?: Record<string, any> | null}} run */
function hasFinished({state, problem}) {
  if (state === "cancelled") throw new DOMException("Cancelled.", "AbortError");
  if (problem) throw new Problem(problem.status ?? 500, problem, "");
  return state === "finished";
}

/** @type {Record<string, string>} */
const STATES = {queued: "Queued", running: "The model works", "waiting-input": "The model asks"};
