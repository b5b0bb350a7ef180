// The patient: hidden until a person asks, and gone with the next study.
import {button, fill, h} from "./dom.js";
import {fail} from "./notices.js";
import {parsePicture} from "../viewer/pictures.js";

/** @param {import("./desk.js").Desk} desk @returns {HTMLElement} */
export function patientLine(desk) {
  const words = h("span", {class: "patient"});
  let shown = false;
  const toggle = button("Show the patient", async () => {
    if (shown) return hide();
    try {
      fill(words, ...lines(await patientOf(desk)));
      shown = true;
      fill(toggle, "Hide the patient");
    } catch (error) {
      fail(error);
    }
  }, {class: "small", hidden: true});
  const hide = () => {
    shown = false;
    fill(words);
    fill(toggle, "Show the patient");
  };
  desk.addEventListener("study", () => {
    toggle.hidden = !desk.series;
    if (!desk.study?.done) hide();
  });
  desk.addEventListener("series", hide);
  return h("span", {class: "row"}, toggle, words);
}

/** @param {import("./desk.js").Desk} desk @returns {Promise<Record<string, any>>} */
async function patientOf({api, study, series}) {
  const header = series?.header;
  if (!header) return {};
  const file = study?.sources.get(header.sop_instance_uid)?.file;
  const stored = `ui/studies/${header.study_instance_uid}/series/${header.series_instance_uid}/instances/${header.sop_instance_uid}/picture?patient=1`;
  const {bytes} = await api.send(file ? "ui/pictures?patient=1" : stored, file ? {body: file, headers: {"Content-Type": "application/dicom"}} : {});
  return /** @type {any} */ (parsePicture(bytes).header).patient ?? {};
}

/** @param {Record<string, any>} patient */
const lines = (patient) => {
  const found = Object.values(patient).filter(Boolean).map(String);
  return [found.length ? found.join(" · ") : "No name in this study"];
};
