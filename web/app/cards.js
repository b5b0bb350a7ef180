// The right side: models as cards, whether each accepts the study, its parameters, and a run of it.
import {button, fill, h, newId} from "./dom.js";
import {ClickSession, Clicking} from "./clicks.js";
import {Form} from "./forms.js";
import {Problem, isAborted} from "./api.js";
import {announce, fail} from "./notices.js";
import {preflight} from "./preflight.js";
import {ask} from "./questions.js";
import {byRequest, byRun} from "./running.js";
import {colourOf} from "../viewer/palettes.js";

/** @typedef {import("./types.js").Card} Card */
/** @typedef {import("./types.js").Verdict} Verdict */
/** @typedef {import("./desk.js").Desk} Desk */

/** The colour of a region while it is clicked: no answer has it. */
const REGION = colourOf(3);

/** Members of a request that name what is stored (docs/studies.md). */
const REFERENCES = new Set(["study", "series", "instances", "from"]);

/** Milliseconds between two looks at models that start. */
const WATCHED_EVERY = 3000;

/** Models, one of which is chosen; runs it on the series that is shown, or on its study. */
export class Models {
  /** @type {Map<string, Verdict>} */
  #verdicts = new Map();
  /** @type {Card | null} */
  #card = null;
  #form = new Form({});
  #asking = new AbortController();
  /** @type {AbortController | null} */
  #running = null;
  #list = h("ul", {class: "cards", "aria-label": "Models"});
  #fields = h("div");
  #target = h("select", {"aria-label": "Send", onchange: () => void this.#preflight()}, h("option", {value: "series"}, "This series"), h("option", {value: "study"}, "The whole study"));
  #run = button("Run", () => void this.#start(), {class: "primary", disabled: true});
  #cancel = button("Cancel", () => this.#running?.abort(), {hidden: true});
  #words = h("p", {class: "status", role: "status"});
  #bar = h("progress", {hidden: true, max: 1, "aria-label": "Progress of the run"});
  #told = h("div", {class: "told"});
  #questions = h("div");
  #box;
  #settings;

  /** @param {Desk} desk @param {Card[]} cards */
  constructor(desk, cards) {
    this.desk = desk;
    this.cards = cards;
    for (const name of ["loaded", "series"]) desk.addEventListener(name, () => void this.#preflight());
    desk.addEventListener("loaded", () => !desk.study?.storable && this.#choose(this.#card));
    desk.addEventListener("study", () => !desk.study?.done && this.#forget());
    desk.addEventListener("again", (event) => this.#again(/** @type {CustomEvent} */ (event).detail));
    const target = h("label", {class: "row"}, h("span", {class: "faint"}, "Run on"), this.#target);
    this.#settings = h("div", {class: "runbox"}, this.#fields, target, this.#run);
    this.#box = h("div", {class: "runbox"}, this.#settings, this.#cancel, this.#words, this.#bar, this.#told, this.#questions, this.#without());
    this.element = h("section", {class: "panel", "aria-label": "Models"}, this.#list);
    this.#choose(cards[0] ?? null);
    void this.#watch();
  }

  /** Look at models that start until none does. */
  async #watch() {
    while (this.cards.some(({state}) => state === "starting")) {
      await new Promise((resolve) => setTimeout(resolve, WATCHED_EVERY));
      /** @type {Card[]} */
      const now = await this.desk.api.json("ui/models").catch(() => []);
      for (const card of this.cards) {
        const {state, reason} = now.find(({route}) => route === card.route) ?? card;
        Object.assign(card, {state, reason});
      }
      this.#show();
    }
  }

  #without() {
    const {config, hasRuns} = this.desk;
    if (hasRuns) return null;
    const why = config.store ? "This key may not store studies and read what is stored" : "This gateway has no store";
    return h("p", {class: "hint"}, `${why}: the study is sent with each request, progress is not told, and leaving the page cancels.`);
  }

  #forget() {
    this.#running?.abort();
    this.#verdicts = new Map();
    this.#show();
  }

  /** @param {Card | null} card */
  #choose(card) {
    this.#card = card;
    this.#form = new Form(card?.parameters ?? {}, this.desk.study?.storable ?? true);
    this.#form.element.addEventListener("change", () => !this.desk.study?.storable && void this.#preflight());
    fill(this.#fields, this.#form.size ? this.#form.element : null);
    this.#show();
  }

  #show() {
    const name = newId("model");
    const focused = /** @type {HTMLElement} */ (document.activeElement), inBox = this.#box.contains(focused), inList = this.#list.contains(focused);
    fill(this.#list, ...this.cards.map((card) => this.#item(card, name)));
    if (inList) (inBox ? focused : /** @type {HTMLElement | null} */ (this.#list.querySelector("input:checked")))?.focus();
    this.#ready();
  }

  /** @param {Card} card @param {string} name */
  #item(card, name) {
    const chosen = card === this.#card, verdict = this.#verdicts.get(card.route);
    const input = h("input", {type: "radio", name, checked: chosen, onchange: () => this.#choose(card)});
    const down = card.state && !["ready", "READY"].includes(card.state);
    const judged = verdict && h("span", {class: verdict.accepted ? "fits" : "misfit"}, verdict.accepted ? "Accepts this" : verdict.reasons.join(" ") || "Does not accept this");
    return h("li", {class: chosen ? "card chosen" : "card"}, h("label", {}, input, h("span", {class: "body"},
      h("span", {class: "strong"}, card.typed ? card.name : card.route, " ", h("span", {class: "faint"}, [card.version, card.typed && card.route].filter(Boolean).join(" · "))),
      h("span", {class: chosen ? "" : "clip"}, card.summary),
      chosen && card.description && h("span", {class: "faint"}, card.description),
      chosen && h("span", {class: "faint"}, (card.sentences ?? []).filter((text) => !text.includes("JSON")).join(" ")),
      down && h("span", {class: "warning"}, [card.state, card.reason].filter(Boolean).join(": ")), judged)), chosen && this.#box);
  }

  #ready() {
    const open = this.#sendable;
    this.#run.disabled = !this.#card || !open || !!this.#running;
    this.#run.textContent = this.#card?.interactive ? "Begin" : "Run";
    this.#target.disabled = !!this.#running;
  }

  /** Return true if what is shown is of the study; a capture of a model is not. */
  get #sendable() {
    const {study, series} = this.desk;
    return !!study?.loaded && !!series && study.headers(series.uid).length > 0;
  }

  /** The UID of what is sent. */
  get #uid() {
    const {header} = /** @type {import("../viewer/series.js").Series} */ (this.desk.series);
    return this.#target.value === "study" ? header.study_instance_uid : header.series_instance_uid;
  }

  async #preflight() {
    this.#asking.abort();
    this.#asking = new AbortController();
    const {study, api} = this.desk;
    this.#ready();
    if (!study || !this.#sendable) return;
    try {
      this.#verdicts = await preflight(api, study, this.#uid, study.stored, this.#form.stated, this.#asking.signal);
      this.#show();
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return;  // a gateway that cannot tell before the request
      fail(error);
    }
  }

  async #start() {
    const card = /** @type {Card} */ (this.#card);
    if (!this.desk.study || !this.desk.series) return;
    let parameters;
    try {
      parameters = this.#form.values();
    } catch (error) {
      return announce(/** @type {Error} */ (error).message);
    }
    await this.#perform({card, study: this.desk.study, parameters, uid: this.#uid});
  }

  /** Run once more what has failed. @param {{route: string, request: Record<string, any>}} run */
  #again({route, request}) {
    const card = this.cards.find((each) => each.route === route);
    const {study} = this.desk;
    if (!card || !study) return fail(new Error("This model is no longer here."));
    if (this.#running) return fail(new Error("Another run is going on: wait for its end, or cancel it."));
    this.#choose(card);
    const parameters = Object.fromEntries(Object.entries(request).filter(([name]) => !REFERENCES.has(name)));
    void this.#perform({card, study, parameters, uid: "", request});
  }

  /** @param {Pick<import("./running.js").Job, "card" | "study" | "parameters" | "uid" | "request">} work */
  async #perform(work) {
    const {card, study, request} = work;
    const {api, config, hasRuns} = this.desk;
    const running = (this.#running = new AbortController());
    const job = {
      ...work, api, signal: running.signal,
      tell: (/** @type {string} */ words, /** @type {number | null} */ share) => this.#tell(words, share),
      ask: (/** @type {import("./types.js").Question} */ question) => ask(this.#questions, this.desk.viewer, question, running.signal),
      show: (/** @type {string} */ text, /** @type {string | null} */ picture) => this.#told.append(h("p", {}, text), picture ? h("img", {src: picture, alt: text || "A picture of the model"}) : ""),
    };
    this.#begin();
    try {
      const clicked = card.interactive && config.sessions && !request;
      const answer = clicked ? await this.#clicked(job) : await (request || hasRuns && card.durable !== false && study.storable ? byRun(job) : byRequest(job));
      if (answer && study === this.desk.study) this.desk.add(answer);
      this.#tell(answer ? `Answered in ${answer.seconds.toFixed(1)} s` : "Given up", null);
    } catch (error) {
      this.#tell(isAborted(error) ? "Cancelled" : "", null);
      if (error instanceof Problem) this.#form.show(error.errors);
      fail(error);
    } finally {
      this.#end(running);
    }
  }

  #begin() {
    fill(this.#told);
    this.#cancel.hidden = false;
    this.#bar.hidden = false;
    this.#settings.hidden = true;
    this.#cancel.focus();
    this.#tell("Starting", null);
    this.#ready();
  }

  /** @param {AbortController} running */
  #end(running) {
    if (this.#running === running) this.#running = null;
    this.#cancel.hidden = true;
    this.#bar.hidden = true;
    fill(this.#questions);
    this.#settings.hidden = false;
    this.#ready();
    this.desk.dispatchEvent(new Event("ran"));
  }

  /** @param {import("./running.js").Job} job */
  async #clicked(job) {
    const session = new ClickSession(job);
    const {study, series, viewer, config} = this.desk;
    await session.open(config.store && !!study?.stored);
    this.#tell("", null);
    this.#bar.hidden = this.#cancel.hidden = true;
    const clicking = new Clicking(session, viewer, this.#questions, (clicks) => this.#region(session, /** @type {any} */ (series).uid, clicks));
    try {
      return await clicking.run(fail);
    } finally {
      this.desk.extras.delete("clicks");
      viewer.setTool("scroll");
      this.desk.draw();
    }
  }

  /** @param {ClickSession} session @param {string} uid @param {{voxel: number[], positive: boolean}[]} clicks */
  #region(session, uid, clicks) {
    const common = {series: uid, group: "clicks", visible: true};
    /** @type {import("./types.js").Finding[]} */
    const findings = clicks.map(({voxel, positive}, at) => ({
      ...common, id: `click-${at}`, name: positive ? "Added" : "Removed", kind: "mark", symbol: positive ? "plus" : "minus", points: [voxel], colour: positive ? [120, 255, 120] : [255, 110, 110],
    }));
    if (session.mask) findings.unshift({...common, id: "clicks", name: "Region", kind: "mask", data: session.mask, shape: session.shape, colour: REGION, opacity: 0.35, outline: true});
    this.desk.extras.set("clicks", findings);
    this.desk.draw();
    this.desk.viewer.refresh();
  }

  /** @param {string} words @param {number | null} share */
  #tell(words, share) {
    if (this.#words.textContent !== words) fill(this.#words, words);
    if (share === null) this.#bar.removeAttribute("value");
    else this.#bar.value = share;
  }
}
