// The store: its studies, what ran on one and where it went.
import {button, fill, h, newId} from "./dom.js";
import {fail} from "./notices.js";
import {answerAt} from "./running.js";
import {foundWords, searchForm} from "./search.js";
import {Study} from "./study.js";

/** @typedef {import("./desk.js").Desk} Desk */

/** Studies that are listed at once. */
const PAGE = 50;

/** The studies of the store. @param {Desk} desk @param {(uid: string) => void} open @returns {HTMLElement} */
export function storedPanel(desk, open) {
  if (!desk.config.store) {
    return h("section", {class: "panel", "aria-label": "Store"}, h("h2", {}, "Store"),
      h("p", {class: "hint"}, "This gateway stores no studies. A study goes with each request; there are no lists, no progress, and no runs that outlive this page. GATEWAY_STORE_FOLDER turns the store on."));
  }
  if (!desk.may("read")) {
    return h("section", {class: "panel", "aria-label": "Store"}, h("h2", {}, "Store"), h("p", {class: "hint"}, "This key may not read stored studies: that needs the role read."));
  }
  const list = h("ul", {class: "stored", "aria-label": "Stored studies"});
  const words = h("p", {class: "hint", role: "status"});
  let after = "";
  /** @type {Record<string, string>} */
  let query = {};
  /** @type {Set<string>} */
  const shown = new Set();
  const more = button("More", () => void load(after), {hidden: true});
  const load = async (/** @type {string} */ from) => {
    const asked = query;
    try {
      const {studies, next} = await desk.api.json(`ui/studies?${new URLSearchParams({...asked, limit: String(PAGE), ...(from ? {after: from} : {})})}`);
      if (asked !== query) return;  // another search began meanwhile
      if (!from) {
        fill(list);
        shown.clear();
      }
      after = next ?? "";
      const added = studies.filter((/** @type {any} */ each) => !shown.has(each.study_instance_uid));  // one that was stored meanwhile moves the others
      for (const each of added) shown.add(each.study_instance_uid);
      list.append(...added.map((/** @type {any} */ each) => studyItem(each, open)));
      fill(words, foundWords(shown.size, !!next, Object.keys(asked).length > 0));
      more.hidden = !next;
    } catch (error) {
      fail(error);
    }
  };
  const search = (/** @type {Record<string, string>} */ wanted) => {
    query = wanted;
    void load("");
  };
  desk.addEventListener("results", () => desk.results.length && void load(""));
  void load("");
  return h("section", {class: "panel", "aria-label": "Store"}, h("div", {class: "row between"}, h("h2", {}, "Store"), button("Refresh", () => void load(""), {class: "small", "aria-label": "Refresh the list of studies"})),
    desk.config.dicomweb ? searchForm(search) : filterOf(list), words, list, more);
}

/** A field that hides what of a list does not have its text; a search needs the tables of DICOMweb. @param {HTMLElement} list */
function filterOf(list) {
  const id = newId("filter");
  const filter = () => {
    const words = input.value.toLowerCase();
    for (const item of list.children) /** @type {HTMLElement} */ (item).hidden = !item.textContent?.toLowerCase().includes(words);
  };
  const input = h("input", {id, type: "search", placeholder: "Filter this list", autocomplete: "off", oninput: filter});
  new MutationObserver(filter).observe(list, {childList: true});
  return h("div", {class: "fields"}, h("label", {for: id, class: "unseen"}, "Filter the listed studies"), input,
    h("p", {class: "hint"}, "GATEWAY_DICOMWEB=1 turns on the search by patient, date, modality and description."));
}

/** @param {any} study @param {(uid: string) => void} open */
function studyItem(study, open) {
  const counts = `${study.series} series · ${study.instances} images`;
  const ran = study.runs ? `${study.runs} ${study.runs === 1 ? "run" : "runs"}` : "";
  return h("li", {}, h("button", {type: "button", onclick: () => open(study.study_instance_uid)},
    h("span", {class: "strong"}, study.description || "Study without a description"),
    study.patient && h("span", {}, [study.patient.name.replaceAll("^", " ").trim(), study.patient.id].filter(Boolean).join(" · ") || "No name"),
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
  let uid = "";
  desk.addEventListener("ran", () => {
    if (desk.study?.stored && uid) desk.api.json(`ui/studies/${encodeURIComponent(uid)}`).then((detail) => detail.study_instance_uid === uid && desk.dispatchEvent(new CustomEvent("history", {detail}))).catch(fail);
  });
  desk.addEventListener("history", (event) => {
    const {runs, results, deliveries, study_instance_uid} = /** @type {CustomEvent} */ (event).detail;
    uid = study_instance_uid;
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
  const path = `runs/${encodeURIComponent(run.id)}`;
  const show = () => void answerAt(desk.api, `${path}/result`, card, {}).then((answer) => desk.add(answer)).catch(fail);
  const again = () => void desk.api.json(`ui/${path}/request`).then((request) => desk.runAgain(run.route, request)).catch(fail);
  return h("li", {}, h("div", {class: "row between"}, h("span", {}, run.route, " ", h("span", {class: "faint"}, `${run.state} · ${time(run.ended ?? run.created)}`)),
    run.state === "finished" && button("Show", show, {class: "small", "aria-label": `Show the result of ${run.route}`}),
    run.problem && button("Run again", again, {class: "small", "aria-label": `Run ${run.route} again with the same input`})),
  run.problem && h("p", {class: "error"}, [run.problem.title, run.problem.detail].filter(Boolean).join(": ")));
}

/** @param {Desk} desk @param {any} result */
function resultItem(desk, result) {
  const card = {route: result.model, name: result.model, version: result.version};
  const show = () => void answerAt(desk.api, `results/${encodeURIComponent(result.id)}`, card, {}).then((answer) => desk.add({...answer, again: null})).catch(fail);
  return h("li", {class: "row between"}, h("span", {}, `${result.model} ${result.version}`, " ", h("span", {class: "faint"}, `stored result · ${time(result.created)}`)),
    button("Show", show, {class: "small", "aria-label": `Show the stored result of ${result.model}`}));
}

/** @param {string} text */
const time = (text) => new Date(text).toLocaleString([], {dateStyle: "short", timeStyle: "short"});
