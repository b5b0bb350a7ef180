// The left side: files to drop, the series of what is open, and files that are no pictures.
import {button, fill, h} from "./dom.js";
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
  const folder = picker("Open folder", {webkitdirectory: true}, open);
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
    const rest = refused.length - MOST_LISTED, lost = refused.filter((each) => each.lost).length, others = refused.length - lost;
    const words = [lost && `${lost} ${lost === 1 ? "file" : "files"} could not be loaded`, others && `${others} ${others === 1 ? "file is not a picture" : "files are not pictures"}`];
    fill(box, h("summary", {}, words.filter(Boolean).join(", ")),
      lost > 0 && button("Try again", () => void desk.study?.again().catch(fail), {class: "small"}),
      h("ul", {class: "refused"}, ...refused.slice(0, MOST_LISTED).map(({name, words}) => h("li", {}, h("code", {}, name), h("span", {class: "faint"}, words))),
        rest > 0 && h("li", {}, `and ${rest} more`)));
  });
  return box;
}
