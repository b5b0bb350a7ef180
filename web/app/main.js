// The page: sign in where keys are on, then the study, the viewer, models, results and comparisons.
import {Api, Problem} from "./api.js";
import {Models} from "./cards.js";
import {comparePanel} from "./compare.js";
import {Desk} from "./desk.js";
import {button, fill, h, newId} from "./dom.js";
import {renewLogin, signIn, signOut} from "./login.js";
import {announce, fail, region, requestId} from "./notices.js";
import {openingPanel} from "./opening.js";
import {patientLine} from "./patient.js";
import {resultsPanel} from "./results.js";
import {historyPanel, openStored, storedPanel} from "./stored.js";
import {themeButton} from "./theme.js";
import {toolbar} from "./toolbar.js";
import {Viewer} from "../viewer/viewer.js";

const root = /** @type {HTMLElement} */ (document.querySelector("#app"));
const api = new Api();

/** @returns {Promise<void>} */
async function start() {
  /** @type {import("./types.js").Config} */
  let config;
  try {
    config = await api.json("ui/config", {once: true});
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return signIn(api, root).then(start);
    return stop(error, null);
  }
  api.csrf = config.csrf;
  api.renew = config.authentication ? (ended) => renewLogin(api, config, ended) : null;
  try {
    show(config, await api.json("ui/models"));
  } catch (error) {
    return stop(error, config);
  }
}

/** Say why there is no page. @param {unknown} error @param {import("./types.js").Config | null} config */
function stop(error, config) {
  const words = h("p", {role: "alert"}, /** @type {Error} */ (error).message);
  fill(root, h("main", {class: "login"}, h("h1", {}, "Inference gateway"), words, error instanceof Problem && requestId(error.requestId),
    button("Try again", () => void start()), config?.authentication && button("Sign out", () => void signOut(api))));
}

/** @param {import("./types.js").Config} config @param {import("./types.js").Card[]} cards */
function show(config, cards) {
  const canvas = h("div", {class: "pictures"});
  const viewer = new Viewer(canvas);
  const desk = new Desk(api, config, viewer);
  const empty = h("p", {class: "empty"}, config.store ? "Drop a folder of DICOM files here, or choose a stored study." : "Drop a folder of DICOM files here.");
  desk.addEventListener("study", () => {
    empty.hidden = !!desk.study;
    page.classList.toggle("opened", !!desk.study);
  });
  const page = h("div", {class: "page"});
  const right = tabs(desk, [["Models", new Models(desk, cards).element], ["Results", resultsPanel(desk)], ["Compare", comparePanel(desk)]]);
  fill(page,
    h("header", {class: "top"}, h("h1", {}, "Inference gateway"), patientLine(desk), h("span", {class: "space"}),
      config.ohif && h("a", {href: config.ohif, rel: "noopener", target: "_blank"}, "OHIF"), themeButton(),
      config.caller && h("span", {class: "faint"}, config.caller.name), config.authentication && button("Sign out", () => void signOut(api), {class: "small"})),
    h("main", {class: "desk"},
      h("div", {class: "left"}, openingPanel(desk, page), storedPanel(desk, (uid) => void openStored(desk, uid).catch(fail)), historyPanel(desk)),
      h("section", {class: "stage", "aria-label": "Viewer"}, toolbar(desk), h("div", {class: "frame"}, canvas, empty)),
      h("div", {class: "right"}, right)),
    region);
  fill(root, page);
}

/** Panels of which one is shown; a new answer shows the results. @param {Desk} desk @param {[string, HTMLElement][]} panels */
function tabs(desk, panels) {
  const ids = panels.map(() => newId("panel"));
  const buttons = panels.map(([name], at) => button(name, () => choose(at), {role: "tab", "aria-controls": ids[at], id: `${ids[at]}-tab`}));
  const choose = (/** @type {number} */ chosen) => panels.forEach(([, panel], at) => {
    panel.hidden = at !== chosen;
    buttons[at].setAttribute("aria-selected", String(at === chosen));
    buttons[at].tabIndex = at === chosen ? 0 : -1;
    if (at === chosen && panel.getBoundingClientRect().top < list.getBoundingClientRect().bottom) panel.scrollIntoView();
  });
  panels.forEach(([, panel], at) => {
    panel.id = ids[at];
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `${ids[at]}-tab`);
  });
  const list = h("div", {class: "tabs", role: "tablist", "aria-label": "Models and results", onkeydown: (/** @type {KeyboardEvent} */ event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    const at = buttons.findIndex((each) => each.tabIndex === 0);
    if (step === undefined) return;
    const next = (at + step + buttons.length) % buttons.length;
    choose(next);
    buttons[next].focus();
  }}, ...buttons);
  let known = 0;
  desk.addEventListener("results", () => {
    fill(buttons[1], desk.results.length ? `Results (${desk.results.length})` : "Results");
    if (desk.results.length > known) {
      choose(1);
      announce(`${desk.results[0].answer.model} has answered.`);
    }
    known = desk.results.length;
  });
  desk.addEventListener("again", () => choose(0));
  choose(0);
  return h("div", {class: "tabbed"}, list, ...panels.map(([, panel]) => panel));
}

start().catch(fail);
