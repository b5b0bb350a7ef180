// What went wrong, in the gateway's words, with the request's id to copy.
import {Problem, isAborted} from "./api.js";
import {button, fill, h} from "./dom.js";

export const region = h("div", {class: "notices", "aria-label": "Messages", role: "region"});
const heard = h("p", {class: "unseen", role: "status"});
region.append(heard);

/** Say something to those who do not see the page. @param {string} words */
export const announce = (words) => fill(heard, words);

/** @param {string} id */
export function requestId(id) {
  if (!id) return null;
  const copy = button("Copy", async () => {
    await navigator.clipboard?.writeText(id).catch(() => undefined);
    fill(copy, "Copied");
  }, {class: "small", "aria-label": "Copy the request id"});
  return h("p", {class: "id"}, "Request ", h("code", {}, id), " ", copy);
}

/** Show an error until it is closed; one that the person caused by cancelling is none. @param {unknown} error */
export function fail(error) {
  if (isAborted(error)) return;
  const known = error instanceof Problem;
  const words = error instanceof Error ? error.message : String(error);
  const card = h("div", {class: "notice", role: "alert"},
    h("div", {class: "row between"}, h("p", {class: "strong"}, (known && error.title) || "This did not work"), button("×", () => card.remove(), {class: "small", "aria-label": "Close the message"})),
    h("p", {}, words), known && requestId(error.requestId));
  region.append(card);
}
