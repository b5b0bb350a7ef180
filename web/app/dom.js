// Elements. Texts of a study, a model or a server become text nodes, and never markup.

let counter = 0;

/** A new id of an element. @param {string} stem */
export const newId = (stem) => `${stem}-${++counter}`;

/**
 * Make an element: `on...` members are listeners, `value`, `checked`, `hidden` and `disabled` properties, all others attributes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [members]
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, members = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(members)) {
    if (value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (["value", "checked", "hidden", "disabled", "indeterminate"].includes(name)) Object.assign(element, {[name]: value});
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Replace the content of an element. @param {Element} element @param {...(Node | string | null | undefined | false)} children */
export function fill(element, ...children) {
  element.replaceChildren(.../** @type {(Node | string)[]} */ (children.filter((child) => child !== null && child !== undefined && child !== false)));
}

/** A button. @param {string} text @param {(event: Event) => void} onclick @param {Record<string, any>} [members] */
export const button = (text, onclick, members = {}) => h("button", {type: "button", onclick, ...members}, text);

/** A labelled check box. @param {string} text @param {boolean} checked @param {(checked: boolean) => void} change */
export function check(text, checked, change) {
  const input = h("input", {type: "checkbox", checked, onchange: () => change(input.checked)});
  return h("label", {class: "check"}, input, text);
}

/**
 * A labelled slider from 0 to 100 %.
 * @param {string} text @param {number} share 0 to 1 @param {(share: number) => void} change
 */
export function slider(text, share, change) {
  const shown = h("output", {}, `${Math.round(share * 100)} %`);
  const input = h("input", {
    type: "range", min: 0, max: 100, value: String(Math.round(share * 100)), "aria-label": text,
    oninput: () => {
      shown.textContent = `${input.value} %`;
      change(Number(input.value) / 100);
    },
  });
  return h("label", {class: "slider"}, h("span", {}, text), input, shown);
}

/** A square of a colour. @param {number[]} colour */
export function swatch(colour) {
  const square = h("span", {class: "swatch", "aria-hidden": "true"});
  square.style.backgroundColor = `rgb(${colour.slice(0, 3).join(" ")})`;
  return square;
}

/** Save bytes as a file. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = h("a", {href: URL.createObjectURL(blob), download: name, hidden: true});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
