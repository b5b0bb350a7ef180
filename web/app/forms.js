// A model's parameters as the fields of a form, made from their JSON Schema.
import {fill, h, newId} from "./dom.js";

/** @typedef {import("./types.js").Schema} Schema */
/** @typedef {{element: HTMLElement, read: () => any, fail: (words: string) => void}} Field */

/** Parameters that the page sets itself. */
const OWN = new Set(["output"]);
/** What begins so is the gateway's own, and states what files other than DICOM do not. */
const UNSTATED = "$", MODALITY = "$modality";

/** Fields for the members of an object. */
export class Form {
  /** @type {Map<string, Field>} */
  #fields = new Map();

  /** @param {Schema} schema of an object @param {boolean} stated false where the files state no modality, as NIfTI */
  constructor(schema, stated = true) {
    const required = new Set(schema.required ?? []);
    for (const [name, member] of Object.entries(schema.properties ?? {})) {
      if (!OWN.has(name) && !(stated && name.startsWith(UNSTATED))) this.#fields.set(name, field(name, resolve(member, schema), required.has(name)));
    }
    this.element = h("div", {class: "fields"}, ...[...this.#fields.values()].map(({element}) => element));
  }

  get size() {
    return this.#fields.size;
  }

  /** The values that are set. Marks fields, and throws a sentence, where one is invalid. @returns {Record<string, any>} */
  values() {
    /** @type {Record<string, any>} */
    const found = {};
    for (const [name, {read, fail}] of this.#fields) {
      fail("");
      try {
        const value = read();
        if (value !== undefined) found[name] = value;
      } catch (error) {
        fail(/** @type {Error} */ (error).message);
        throw new Error(`${name}: ${/** @type {Error} */ (error).message}`, {cause: error});
      }
    }
    return found;
  }

  /** What is set of files that state no modality; other fields may be invalid as yet. @returns {Record<string, any>} */
  get stated() {
    const fields = [...this.#fields].filter(([name]) => name === MODALITY).map(([name, {read}]) => [name, read()]);
    return Object.fromEntries(fields.filter(([, value]) => value));
  }

  /** Show what the gateway says of parameters beside their fields. @param {{pointer: string, detail: string}[]} errors */
  show(errors) {
    for (const {pointer, detail} of errors) this.#fields.get(pointer.split("/")[1] ?? "")?.fail(detail);
  }
}

/** Follow a reference, and leave null out of a choice of types. @param {Schema} member @param {Schema} root @returns {Schema} */
function resolve(member, root) {
  const name = /^#\/(?:\$defs\/)?(.+)$/.exec(member.$ref ?? "")?.[1];
  if (name) return {...resolve(root.$defs?.[name] ?? {}, root), ...member, $ref: undefined};
  const options = (member.anyOf ?? []).filter((/** @type {Schema} */ each) => each.type !== "null");
  if (options.length === 1) return {...resolve(options[0], root), ...member, anyOf: undefined, optional: true};
  return member;
}

/** @param {string} name @param {Schema} schema @param {boolean} required @returns {Field} */
function field(name, schema, required) {
  const id = newId("field");
  const [control, read] = controlOf(schema, id, required);
  const hint = [schema.description, bounds(schema)].filter(Boolean).join(" ");
  const error = h("p", {class: "error", id: `${id}-error`, role: "alert", hidden: true});
  control.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  const label = h("label", {for: id}, schema.title ?? name, required && h("span", {class: "faint"}, " (required)"));
  return {
    element: h("div", {class: "field"}, label, control, h("p", {class: "hint", id: `${id}-hint`}, hint), error),
    read,
    fail: (words) => {
      fill(error, words);
      error.hidden = !words;
      control.setAttribute("aria-invalid", String(!!words));
    },
  };
}

/** @param {Schema} schema @returns {string} */
function bounds(schema) {
  const low = schema.minimum ?? schema.exclusiveMinimum, high = schema.maximum ?? schema.exclusiveMaximum;
  const unit = schema.unit ? ` ${schema.unit}` : "";
  if (low !== undefined && high !== undefined) return `(${low} to ${high}${unit})`;
  if (low !== undefined) return `(at least ${low}${unit})`;
  return high === undefined ? unit && `(${unit.trim()})` : `(at most ${high}${unit})`;
}

/** @param {Schema} schema @param {string} id @param {boolean} required @returns {[HTMLElement, () => any]} */
function controlOf(schema, id, required) {
  if (Array.isArray(schema.enum)) return choice(schema, id, required);
  if (schema.type === "boolean") {
    const input = h("input", {type: "checkbox", id, checked: schema.default === true});
    return [input, () => input.checked];
  }
  if (schema.type === "number" || schema.type === "integer") return numeric(schema, id, required);
  if (schema.type === "string") {
    const input = h("input", {type: "text", id, value: schema.default ?? "", maxlength: schema.maxLength, required});
    return [input, () => (input.value || required ? input.value : undefined)];
  }
  return free(schema, id, required);
}

/** @param {Schema} schema @param {string} id @param {boolean} required @returns {[HTMLElement, () => any]} */
function choice(schema, id, required) {
  const options = schema.enum.map((/** @type {any} */ each) => h("option", {value: JSON.stringify(each)}, String(each)));
  const empty = required || schema.default !== undefined ? [] : [h("option", {value: ""}, "Not set")];
  const select = h("select", {id}, ...empty, ...options);
  if (schema.default !== undefined) select.value = JSON.stringify(schema.default);
  return [select, () => (select.value ? JSON.parse(select.value) : undefined)];
}

/** @param {Schema} schema @param {string} id @param {boolean} required @returns {[HTMLElement, () => any]} */
function numeric(schema, id, required) {
  const whole = schema.type === "integer";
  const input = h("input", {
    type: "number", id, required, value: schema.default ?? "", step: schema.multipleOf ?? (whole ? 1 : "any"),
    min: schema.minimum ?? schema.exclusiveMinimum, max: schema.maximum ?? schema.exclusiveMaximum, inputmode: whole ? "numeric" : "decimal",
  });
  return [input, () => {
    if (!input.validity.valid) throw new Error(input.validationMessage);
    return input.value === "" ? undefined : Number(input.value);
  }];
}

/** Any other value, as JSON. @param {Schema} schema @param {string} id @param {boolean} required @returns {[HTMLElement, () => any]} */
function free(schema, id, required) {
  const area = h("textarea", {id, rows: 2, spellcheck: "false", value: schema.default === undefined || schema.default === null ? "" : JSON.stringify(schema.default)});
  return [area, () => {
    if (!area.value.trim() && !required) return undefined;
    try {
      return JSON.parse(area.value);
    } catch {
      throw new Error('Write JSON here, such as ["left", "right"] or {"a": 1}.');
    }
  }];
}
