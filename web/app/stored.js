// The store: its studies, what ran on one and where it went.
import {button, fill, h, newId} from "./dom.js";
import {fail} from "./notices.js";
import {answerAt} from "./running.js";
import {Study} from "./study.js";

/** @typedef {import("./desk.js").Desk} Desk */

/** The studies of the store. @param {Desk} desk @param {(uid: string) => void} open @returns {HTMLElement} */
export function storedPanel(desk, open) {
  if (!desk.config.store) {
    return h("section", {class: "panel", "aria-label": "Store"}, h("h2", {}, "Store"),
      h("p", {class: "hint"}, "This gateway stores no studies. A study goes with each request; there are no lists, no progress, and no runs that outlive this page. GATEWAY_STORE_FOLDER turns the store on."));
  }
  if (!desk.may("read")) {
    return h("section", {class: "panel", "aria-label": "Store"}, h("h2", {}, "Store"), h("p", {class: "hint"}, "This key may not read stored studies: that needs the role read."));
  }
  const id = newId("filter");
  const list = h("ul", {class: "stored", "aria-label": "Stored studies"});
  const filter = () => {
    const words = input.value.toLowerCase();
    for (const item of list.children) /** @type {HTMLElement} */ (item).hidden = !item.textContent?.toLowerCase().includes(words);
  };
  const input = h("input", {id, type: "search", placeholder: "Filter", autocomplete: "off", oninput: filter});
  let after = "";
  const more = button("More", () => void load(after), {hidden: true});
  const load = async (/** @type {string} */ from) => {
    try {
      const {studies, next} = await desk.api.json(`ui/studies?limit=50${from ? `&after=${encodeURIComponent(from)}` : ""}`);
      after = next ?? "";
      if (!from) fill(list);
      list.append(...studies.map((/** @type {any} */ each) => studyItem(each, open)));
      if (!list.children.length) list.append(h("li", {class: "hint"}, "The store has no studies yet."));
      more.hidden = !next;
      filter();
    } catch (error) {
      fail(error);
    }
  };
  desk.addEventListener("results", () => desk.results.length && void load(""));
  void load("");
  return h("section", {class: "panel", "aria-label": "Store"}, h("div", {class: "row between"}, h("h2", {}, "Store"), button("Refresh", () => void load(""), {class: "small", "aria-label": "Refresh the list of studies"})),
    h("label", {for: id, class: "unseen"}, "Filter the stored studies"), input, list, more);
}

/** @param {any} study @param {(uid: string) => void} open */
function studyItem(study, open) {
  const counts = `${study.series} series · ${study.instances} images`;
  const ran = study.runs ? `${study.runs} ${study.runs === 1 ? "run" : "runs"}` : "";
  return h("li", {}, h("button", {type: "button", onclick: () => open(study.study_instance_uid)},
    h("span", {class: "strong"}, study.description || "Study without a description"),
    h("span", {class: "faint"}, [day(study.date), (study.modalities ?? []).join(", "), counts, ran].filter(Boolean).join(" · "))));
}

/** A date of DICOM (PS3.5 6.2) with hyphens. @param {string} text */
const day = (text) => (/^[0-9]{8}$/.test(text) ? `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6)}` : text);

/** Open a study of the store. @param {Desk} desk @param {string} uid */
export async function openStored(desk, uid) {
  const detail = await desk.api.json(`ui/studies/${encodeURIComponent(uid)}`);
  const study = new Study(desk.api, true);
  desk.open(study);
  desk.dispatchEvent(new CustomEvent("history", {detail}));
  await study.load(detail.series.flatMap((/** @type {any} */ series) => series.instances.map((/** @type {any} */ instance) => ({
    name: instance.sop_instance_uid, file: null,
    address: `ui/studies/${uid}/series/${series.series_instance_uid}/instances/${instance.sop_instance_uid}/picture`,
  }))));
}

/** What ran on the open study of the store, and where results went. @param {Desk} desk @returns {HTMLElement} */
export function historyPanel(desk) {
  const body = h("div");
  const panel = h("section", {class: "panel", "aria-label": "History of this study", hidden: true}, h("h2", {}, "What ran on it"), body);
  desk.addEventListener("study", () => {
    if (!desk.study?.stored) panel.hidden = true;
  });
  desk.addEventListener("history", (event) => {
    const {runs, results, deliveries} = /** @type {CustomEvent} */ (event).detail;
    panel.hidden = false;
    fill(body, h("ul", {class: "history"},
      ...runs.map((/** @type {any} */ run) => runItem(desk, run)),
      ...results.map((/** @type {any} */ result) => resultItem(desk, result)),
      ...deliveries.map((/** @type {any} */ each) => h("li", {}, h("span", {}, `To ${each.destination}: ${each.state}`), h("span", {class: "faint"}, each.outcome)))),
    !runs.length && !results.length && h("p", {class: "hint"}, "Nothing yet."));
  });
  return panel;
}

/** @param {Desk} desk @param {any} run */
function runItem(desk, run) {
  const card = {route: run.route, name: run.route, version: ""};
  const show = () => void answerAt(desk.api, `runs/${encodeURIComponent(run.id)}/result`, card, {}).then((answer) => desk.add(answer)).catch(fail);
  return h("li", {class: "row between"}, h("span", {}, run.route, " ", h("span", {class: "faint"}, `${run.state} · ${time(run.ended ?? run.created)}`)),
    run.state === "finished" && button("Show", show, {class: "small", "aria-label": `Show the result of ${run.route}`}));
}

/** @param {Desk} desk @param {any} result */
function resultItem(desk, result) {
  const card = {route: result.model, name: result.model, version: result.version};
  const show = () => void answerAt(desk.api, `results/${encodeURIComponent(result.id)}`, card, {}).then((answer) => desk.add(answer)).catch(fail);
  return h("li", {class: "row between"}, h("span", {}, `${result.model} ${result.version}`, " ", h("span", {class: "faint"}, `stored result · ${time(result.created)}`)),
    button("Show", show, {class: "small", "aria-label": `Show the stored result of ${result.model}`}));
}

/** @param {string} text */
const time = (text) => new Date(text).toLocaleString([], {dateStyle: "short", timeStyle: "short"});
