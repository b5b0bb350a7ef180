// Sign in with a key, which the gateway turns into a cookie that scripts cannot read. The page stores no key.
import {Problem} from "./api.js";
import {fill, h} from "./dom.js";

/** Show the form alone, until a key is accepted. @param {import("./api.js").Api} api @param {HTMLElement} root @param {string} [words]  why @returns {Promise<void>} */
export function signIn(api, root, words = "") {
  return new Promise((resolve) => {
    const input = h("input", {id: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false"});
    const error = h("p", {class: "error", role: "alert"});
    const enter = h("button", {class: "primary"}, "Sign in");
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      enter.disabled = true;
      fill(error);
      try {
        await api.send("ui/login", {json: {key: input.value.trim()}, once: true});
        resolve();
      } catch (failure) {
        fill(error, failure instanceof Problem && failure.status === 401 ? "The gateway does not accept this key." : /** @type {Error} */ (failure).message);
        input.select();
      } finally {
        enter.disabled = false;
      }
    };
    fill(root, h("main", {class: "login"}, h("h1", {}, "Inference gateway"), words && h("p", {}, words),
      h("form", {onsubmit: submit}, h("label", {for: "key"}, "Key"), input, enter, error,
        h("p", {class: "hint"}, "Ask the operator of this gateway for a key. It is exchanged for a session of this browser, and is not stored."))));
    input.focus();
  });
}

/**
 * Make the login of the page good again, and keep the page as it is: by the login of another tab where this has the same
 * caller, else by a key. Another caller gets a page of its own.
 * @param {import("./api.js").Api} api @param {import("./types.js").Config} config @param {boolean} ended  there is no login
 * @returns {Promise<boolean>} true if a request is worth repeating
 */
export async function renewLogin(api, config, ended) {
  const name = await take(api, config, ended);
  if (typeof name === "boolean") return name;
  const dialog = h("dialog", {class: "cover", "aria-label": "Sign in again", onclose: () => dialog.isConnected && dialog.showModal()});
  document.body.append(dialog);
  dialog.showModal();
  const words = name ? `${name} has signed in in another tab. Sign in as ${config.caller?.name} to go on here.` : "The login has ended. What is open here stays.";
  try {
    await signIn(api, dialog, words);
    if (await take(api, config, true) === true) return true;
  } catch {
    // a page that cannot go on begins again
  } finally {
    dialog.remove();
  }
  location.reload();
  return false;
}

/**
 * Take over the login that the browser has now.
 * @param {import("./api.js").Api} api @param {import("./types.js").Config} config @param {boolean} ended
 * @returns {Promise<boolean | string>} whether it changed, or the name of another caller, "" for none
 */
async function take(api, config, ended) {
  try {
    const {caller, csrf} = await api.json("ui/config", {once: true});
    if (caller?.name !== config.caller?.name) return String(caller?.name ?? "");
    const changed = ended || csrf !== api.csrf;
    api.csrf = csrf;
    return changed;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return "";
    throw error;
  }
}

/** @param {import("./api.js").Api} api */
export async function signOut(api) {
  await api.send("ui/logout", {method: "POST", once: true}).catch(() => undefined);
  location.reload();
}
