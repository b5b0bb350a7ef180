// A question of a model: the person answers by a point, a box, a choice or words (docs/interactive.md).
import {button, fill, h, newId} from "./dom.js";

/** @typedef {import("./types.js").Question} Question */
/** @typedef {import("../viewer/viewer.js").Viewer} Viewer */

/** Picks that a kind of question takes. @type {Record<string, number>} */
const PICKS = {point: 1, box: 2};

/**
 * Show a question, and return the JSON of its answer.
 * @param {HTMLElement} place @param {Viewer} viewer @param {Question} question @param {AbortSignal} signal
 * @returns {Promise<Record<string, any>>}
 */
export function ask(place, viewer, question, signal) {
  return new Promise((resolve, reject) => {
    const clean = new AbortController();
    const done = (/** @type {any} */ answer) => {
      clean.abort();
      fill(place);
      resolve({answer});
    };
    signal.addEventListener("abort", () => {
      clean.abort();
      fill(place);
      reject(new DOMException("Cancelled.", "AbortError"));
    }, {once: true, signal: clean.signal});
    const picks = PICKS[question.kind ?? ""];
    const controls = picks ? picking(viewer, picks, done, clean.signal) : writing(question, done);
    fill(place, h("div", {class: "question", role: "group", "aria-label": "Question of the model"}, h("p", {class: "strong"}, question.question), ...controls));
    place.scrollIntoView({block: "nearest"});
    if (!picks) /** @type {HTMLElement | null} */ (place.querySelector("input, button"))?.focus();
  });
}

/** @param {Viewer} viewer @param {number} count @param {(answer: any) => void} done @param {AbortSignal} signal @returns {Node[]} */
function picking(viewer, count, done, signal) {
  /** @type {number[][]} */
  const voxels = [];
  const words = h("p", {class: "hint"}, count === 1 ? "Click the place in the picture." : "Click two opposite corners in the pictures.");
  viewer.setTool("point");
  viewer.addEventListener("pick", (event) => {
    voxels.push(/** @type {CustomEvent} */ (event).detail.voxel);
    if (voxels.length < count) fill(words, "Now click the opposite corner.");
    else done(count === 1 ? voxels[0] : [0, 1].map((end) => [0, 1, 2].map((axis) => Math[end ? "max" : "min"](voxels[0][axis], voxels[1][axis]))));
  }, {signal});
  return [words];
}

/** @param {Question} question @param {(answer: any) => void} done @returns {Node[]} */
function writing(question, done) {
  if (question.choices) {
    return [h("div", {class: "row"}, ...question.choices.map((choice) => button(choice, () => done(choice), choice === question.default ? {class: "primary"} : {})))];
  }
  const id = newId("reply");
  const numeric = question.kind === "number";
  const input = h("input", {id, type: numeric ? "number" : question.kind === "password" ? "password" : "text", step: "any", autocomplete: "off", value: question.default ?? ""});
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (input.validity.valid && (input.value || !numeric)) done(numeric ? Number(input.value) : input.value);
  };
  return [h("form", {onsubmit: submit}, h("label", {for: id}, "Answer"), input, h("button", {class: "primary"}, "Send"))];
}
