// A study of the store: its pictures, and the results of runs that have finished.
import {fail} from "./notices.js";
import {resultOf} from "./running.js";
import {Study} from "./study.js";

/** @typedef {import("./desk.js").Desk} Desk */

/** @param {Desk} desk @param {string} uid */
export async function openStored(desk, uid) {
  const detail = await desk.api.json(`ui/studies/${encodeURIComponent(uid)}`);
  const study = new Study(desk.api, true);
  desk.open(study);
  const sources = detail.series.flatMap((/** @type {any} */ series) => series.instances.map((/** @type {any} */ instance) => ({
    name: instance.sop_instance_uid, file: null,
    address: `ui/studies/${uid}/series/${series.series_instance_uid}/instances/${instance.sop_instance_uid}/picture`,
  })));
  desk.dispatchEvent(new CustomEvent("detail", {detail}));
  await study.load(sources);
}

/** Show the answer of a finished run. @param {Desk} desk @param {any} run */
export async function openRun(desk, run) {
  try {
    desk.add(await resultOf(desk.api, run.id, {route: run.route, name: run.model || run.route, version: run.version ?? ""}, {}));
  } catch (error) {
    fail(error);
  }
}
