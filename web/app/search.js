// The search of the store: by patient, date, modality, description and accession number (docs/ui.md).
import {button, check, h, newId} from "./dom.js";

/** @type {[string, string, Record<string, string>][]} A query's member, its label, and attributes of its field. */
const FIELDS = [
  ["PatientName", "Patient's name", {placeholder: "Family, given"}], ["PatientID", "Patient ID", {}],
  ["from", "From", {type: "date"}], ["to", "To", {type: "date"}],
  ["ModalitiesInStudy", "Modality", {placeholder: "CT"}], ["StudyDescription", "Description", {}], ["AccessionNumber", "Accession number", {}],
];

/** A date of a field as DICOM has it (PS3.5 6.2). @param {string} text */
const dicomDate = (text) => text.replaceAll("-", "");

/**
 * The form of a search, closed at first.
 * @param {(query: Record<string, string>) => void} search  with the members of `GET /ui/studies`; none for all studies
 * @returns {HTMLElement}
 */
export function searchForm(search) {
  /** @type {Map<string, HTMLInputElement>} */
  const inputs = new Map();
  const fields = FIELDS.map(([name, label, members]) => {
    const id = newId("search");
    const input = h("input", {id, type: "text", autocomplete: "off", spellcheck: "false", maxlength: 64, ...members});
    inputs.set(name, input);
    return h("div", {class: "field"}, h("label", {for: id}, label), input);
  });
  let named = false;
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    search(queryOf(inputs, named));
  };
  const form = h("form", {class: "fields", role: "search", "aria-label": "Stored studies", onsubmit: submit}, ...fields,
    check("Show the patients", false, (checked) => (named = checked)),
    h("p", {class: "hint"}, "Names, numbers and IDs match from their beginning, a description anywhere; * stands for any letters."),
    h("div", {class: "row"}, h("button", {class: "primary"}, "Search"), button("All studies", () => {
      form.reset();
      named = false;
      search({});
    })));
  return h("details", {}, h("summary", {}, "Search"), form);
}

/** @param {Map<string, HTMLInputElement>} inputs @param {boolean} named @returns {Record<string, string>} */
function queryOf(inputs, named) {
  const {from = "", to = "", ...query} = Object.fromEntries([...inputs].map(([name, {value}]) => [name, value.trim()]).filter(([, value]) => value));
  if (query.ModalitiesInStudy) query.ModalitiesInStudy = query.ModalitiesInStudy.toUpperCase();
  if (from || to) query.StudyDate = from === to ? dicomDate(from) : `${dicomDate(from)}-${dicomDate(to)}`;
  if (named) query.patient = "1";
  return query;
}

/** The list that was found, in words. @param {number} count @param {boolean} more @param {boolean} searched */
export function foundWords(count, more, searched) {
  if (!count) return searched ? "No stored study matches." : "The store has no studies yet.";
  const number = `${count} ${count === 1 ? "study" : "studies"}`;
  return more ? `The latest ${number}` : number;
}
