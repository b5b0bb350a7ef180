// Sign in with a key, which the gateway turns into a cookie that scripts cannot read. The page stores no key.
import {Problem} from "./api.js";
import {fill, h} from "./dom.js";

/** Show the form alone, until a key is accepted. @param {import("./api.js").Api} api @param {HTMLElement} root @returns {Promise<void>} */
export function signIn(api, root) {
  return new Promise((resolve) => {
    const input = h("input", {id: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false"});
    const error = h("p", {class: "error", role: "alert"});
    const enter = h("button", {class: "primary"}, "Sign in");
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      enter.disabled = true;
      fill(error);
      try {
        await api.send("ui/login", {json: {key: input.value.trim()}});
        resolve();
      } catch (failure) {
        fill(error, failure instanceof Problem && failure.status === 401 ? "The gateway does not accept this key." : /** @type {Error} */ (failure).message);
        input.select();
      } finally {
        enter.disabled = false;
      }
    };
    fill(root, h("main", {class: "login"}, h("h1", {}, "Inference gateway"),
      h("form", {onsubmit: submit}, h("label", {for: "key"}, "Key"), input, enter, error,
        h("p", {class: "hint"}, "Ask the operator of this gateway for a key. It is exchanged for a session of this browser, and is not stored."))));
    input.focus();
  });
}

let again = false;

/**
 * Ask for a key over the page, which stays as it is, once a login has ended; another caller gets a page of its own.
 * @param {import("./api.js").Api} api @param {import("./types.js").Config} config
 */
export async function signInAgain(api, config) {
  if (again) return;
  again = true;
  const dialog = h("dialog", {class: "cover", "aria-label": "Sign in again", onclose: () => dialog.isConnected && dialog.showModal()});
  document.body.append(dialog);
  dialog.showModal();
  try {
    await signIn(api, dialog);
    const {caller, csrf} = await api.json("ui/config");
    if (caller?.name !== config.caller?.name) return location.reload();
    api.csrf = csrf;
  } catch {
    return location.reload();
  } finally {
    again = false;
  }
  dialog.remove();
}

/** @param {import("./api.js").Api} api */
export async function signOut(api) {
  await api.send("ui/logout", {method: "POST"}).catch(() => undefined);
  location.reload();
}
