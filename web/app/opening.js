// The left side: files to drop, the studies of the store, the series of what is open, and files that are no pictures.
import {button, fill, h, newId} from "./dom.js";
import {chosen, dropped} from "./files.js";
import {fail} from "./notices.js";
import {Study, seriesWords} from "./study.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./files.js").Chosen} Chosen */

/** Refused files that are listed with their reasons. */
const MOST_LISTED = 50;

/** @param {Desk} desk @param {HTMLElement} whole  the page, onto which files can be dropped @returns {HTMLElement} */
export function openingPanel(desk, whole) {
  const open = (/** @type {Chosen[]} */ files) => {
    if (!files.length) return fail(new Error("There are no files in what was dropped."));
    const study = new Study(desk.api, false);
    desk.open(study);
    study.load(files.map(({file, path}) => ({name: path, file, address: ""}))).catch(fail);
  };
  acceptDrops(whole, open);
  const folder = picker("Open a folder", {webkitdirectory: true}, open);
  const files = picker("Open files", {multiple: true}, open);
  const hint = h("p", {class: "hint"}, "or drop a folder anywhere on this page");
  return h("section", {class: "panel", "aria-label": "Study"}, h("h2", {}, "Study"), h("div", {class: "row"}, folder, files), hint, progressOf(desk), seriesOf(desk), refusedOf(desk));
}

/** @param {string} text @param {Record<string, any>} members @param {(files: Chosen[]) => void} open */
function picker(text, members, open) {
  const input = h("input", {type: "file", class: "unseen", tabindex: -1, "aria-hidden": "true", ...members, onchange: () => {
    open(chosen(input.files));
    input.value = "";
  }});
  return h("span", {}, button(text, () => input.click()), input);
}

/** @param {HTMLElement} whole @param {(files: Chosen[]) => void} open */
function acceptDrops(whole, open) {
  const hasFiles = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  whole.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    whole.classList.add("dropping");
  });
  whole.addEventListener("dragleave", (event) => event.relatedTarget === null && whole.classList.remove("dropping"));
  whole.addEventListener("drop", (event) => {
    whole.classList.remove("dropping");
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    dropped(event.dataTransfer).then(open).catch(fail);
  });
}

/** @param {Desk} desk */
function progressOf(desk) {
  const bar = h("progress", {"aria-label": "Pictures loaded"});
  const words = h("p", {class: "hint", role: "status"});
  const box = h("div", {hidden: true}, bar, words);
  desk.addEventListener("study", () => {
    const {done = 0, total = 0, refused = []} = desk.study ?? {};
    box.hidden = !total;
    bar.hidden = done === total;
    bar.max = total || 1;
    bar.value = done;
    fill(words, done < total ? `${done} of ${total} files` : `${total - refused.length} of ${total} files are pictures`);
  });
  return box;
}

/** @param {Desk} desk */
function seriesOf(desk) {
  const list = h("ul", {class: "series", "aria-label": "Series"});
  const show = () => {
    const all = desk.study?.series ?? [];
    const studies = [...new Set(all.map(({header}) => header.study_instance_uid))];
    fill(list, ...all.map((series) => {
      const {title, facts} = seriesWords(series);
      const number = studies.length > 1 ? `Study ${studies.indexOf(series.header.study_instance_uid) + 1} · ` : "";
      const remarks = desk.study?.loaded ? series.remarks : [];
      return h("li", {}, h("button", {type: "button", "aria-pressed": String(series === desk.series), onclick: () => desk.show(series)},
        h("span", {class: "strong"}, title), h("span", {class: "faint"}, number + facts), ...remarks.map((/** @type {string} */ text) => h("span", {class: "warning"}, text))));
    }));
  };
  for (const name of ["study", "series", "loaded"]) desk.addEventListener(name, show);
  return list;
}

/** @param {Desk} desk */
function refusedOf(desk) {
  const box = h("details", {hidden: true});
  desk.addEventListener("study", () => {
    const refused = desk.study?.refused ?? [];
    box.hidden = !refused.length;
    if (!refused.length) return;
    const rest = refused.length - MOST_LISTED;
    fill(box, h("summary", {}, `${refused.length} ${refused.length === 1 ? "file is not a picture" : "files are not pictures"}`),
      h("ul", {class: "refused"}, ...refused.slice(0, MOST_LISTED).map(({name, words}) => h("li", {}, h("code", {}, name), h("span", {class: "faint"}, words))),
        rest > 0 && h("li", {}, `and ${rest} more`)));
  });
  return box;
}

/** The studies of the store, and what ran on them. @param {Desk} desk @param {(uid: string) => void} open @returns {HTMLElement} */
export function storedPanel(desk, open) {
  if (!desk.config.store) {
    return h("section", {class: "panel", "aria-label": "Store"}, h("h2", {}, "Store"),
      h("p", {class: "hint"}, "This gateway stores no studies. A study goes with each request; there are no lists, no progress and no runs that outlive this page. GATEWAY_STORE_FOLDER turns the store on."));
  }
  const id = newId("search");
  const input = h("input", {id, type: "search", placeholder: "Description, date or modality", autocomplete: "off"});
  const list = h("ul", {class: "stored", "aria-label": "Stored studies"});
  let page = 0;
  const more = button("More", () => void load(page + 1), {hidden: true});
  const load = async (/** @type {number} */ number) => {
    try {
      const found = await desk.api.json(`ui/studies?search=${encodeURIComponent(input.value)}&page=${number}`);
      page = number;
      if (!number) fill(list);
      list.append(...found.studies.map((/** @type {any} */ each) => storedItem(each, open)));
      if (!list.children.length) list.append(h("li", {class: "hint"}, input.value ? "No stored study matches." : "The store has no studies yet."));
      more.hidden = !found.more;
    } catch (error) {
      fail(error);
    }
  };
  const form = h("form", {role: "search", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    void load(0);
  }}, h("label", {for: id, class: "unseen"}, "Search the stored studies"), input, h("button", {}, "Search"));
  void load(0);
  return h("section", {class: "panel", "aria-label": "Store"}, h("div", {class: "row between"}, h("h2", {}, "Store"), button("Refresh", () => void load(0), {class: "small"})), form, list, more);
}

/** @param {any} study @param {(uid: string) => void} open */
function storedItem(study, open) {
  const facts = [study.date, (study.modalities ?? []).join(", "), `${study.series} series`, `${study.instances} images`].filter(Boolean).join(" · ");
  const ran = (study.runs ?? []).map((/** @type {any} */ run) => `${run.route ?? run.model}: ${run.state}`).join(", ");
  return h("li", {}, h("button", {type: "button", onclick: () => open(study.study_instance_uid)},
    h("span", {class: "strong"}, study.description || "Study without a description"), h("span", {class: "faint"}, facts), ran && h("span", {class: "faint"}, ran)));
}
