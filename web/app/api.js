// The gateway over HTTP: relative to the page, with the CSRF token; refusals are Problems with the request's id.

/** A refusal of the gateway (RFC 9457), or a connection that failed. */
export class Problem extends Error {
  /** @param {number} status @param {Record<string, any>} words @param {string} requestId */
  constructor(status, words, requestId) {
    super(String(words.detail ?? words.title ?? `The gateway answered with status ${status}.`));
    this.status = status;
    this.code = String(words.type ?? "").replace("urn:gateway:problem:", "");
    this.title = String(words.title ?? "");
    this.requestId = String(words.request_id ?? requestId);
    /** @type {{pointer: string, detail: string}[]} */
    this.errors = faults(words);
  }
}

/** @param {Record<string, any>} words */
function faults(words) {
  const listed = Array.isArray(words.errors) ? words.errors : [];
  return listed.map((each) => ({pointer: String(each.pointer ?? ""), detail: String(each.detail ?? each.message ?? "")}));
}

const AWAY = "The gateway does not answer. Check that it runs and that this computer reaches it, then try again.";

/** @typedef {{status: number, headers: Headers, bytes: ArrayBuffer}} Received */
/**
 * @typedef {object} Sending
 * @property {string} [method]
 * @property {any} [json]
 * @property {BodyInit | null} [body]
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 * @property {boolean} [keepalive]  the request outlives the page
 * @property {(share: number) => void} [onUpload]  told how much of the body is sent, 0 to 1
 * @property {boolean} [once]  not repeated after another login: it is the login itself
 */

export class Api {
  /** @type {Promise<boolean> | null} */
  #renewal = null;

  constructor(base = new URL("../", document.baseURI)) {
    this.base = base;
    this.csrf = "";
    /**
     * Makes a login that has ended, or a CSRF value of another one, good again. `ended`: the gateway knows no login.
     * Resolves to true where requests are worth repeating.
     * @type {((ended: boolean) => Promise<boolean>) | null}
     */
    this.renew = null;
  }

  /** The address of a path of the gateway. @param {string} path */
  address(path) {
    const address = new URL(path.replace(/^\/+/, ""), this.base);
    if (address.origin !== this.base.origin) throw new Error("An address of another origin.");
    return address.href;
  }

  /**
   * Send a request and read its response; once more where its login had to be renewed. Throws a Problem, or an AbortError.
   * @param {string} path @param {Sending} [sending] @returns {Promise<Received>}
   */
  async send(path, sending = {}) {
    const csrf = this.csrf;
    let received = await this.#sent(path, sending);
    if (!sending.once && await this.#renewed(received, csrf)) received = await this.#sent(path, sending);
    if (received.status >= 200 && received.status < 300) return received;
    throw new Problem(received.status, words(received), received.headers.get("X-Request-ID") ?? "");
  }

  /** @param {string} path @param {Sending} sending */
  #sent(path, sending) {
    return sending.onUpload ? this.#watched(path, sending) : this.#fetched(path, sending);
  }

  /**
   * Renew the login that a response lacks; requests that fail together share one renewal.
   * @param {Received} received @param {string} csrf  the value that was sent @returns {Promise<boolean>} true if the request is worth repeating
   */
  async #renewed({status}, csrf) {
    if (!this.renew || (status !== 401 && (status !== 403 || !csrf))) return false;
    if (this.csrf !== csrf) return true;  // renewed meanwhile
    this.#renewal ??= this.renew(status === 401).finally(() => (this.#renewal = null));
    return this.#renewal;
  }

  /** The JSON of a response. @param {string} path @param {Sending} [sending] @returns {Promise<any>} */
  async json(path, sending = {}) {
    const {bytes} = await this.send(path, sending);
    return bytes.byteLength ? JSON.parse(new TextDecoder().decode(bytes)) : null;
  }

  /** @param {Sending} sending @returns {[string, BodyInit | null, Record<string, string>]} */
  #framed({method, json, body = null, headers = {}}) {
    const verb = method ?? (json === undefined && body === null ? "GET" : "POST");
    /** @type {Record<string, string>} */
    const own = json === undefined ? {...headers} : {"Content-Type": "application/json", ...headers};
    if (verb !== "GET" && this.csrf) own["X-CSRF-Token"] = this.csrf;
    return [verb, json === undefined ? body : JSON.stringify(json), own];
  }

  /** @param {string} path @param {Sending} sending @returns {Promise<Received>} */
  async #fetched(path, sending) {
    const [method, body, headers] = this.#framed(sending);
    try {
      const response = await fetch(this.address(path), {method, body, headers, signal: sending.signal, keepalive: sending.keepalive, credentials: "same-origin", redirect: "error"});
      return {status: response.status, headers: response.headers, bytes: await response.arrayBuffer()};
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new Problem(0, {detail: AWAY}, "");
    }
  }

  /** `fetch` does not tell how much is sent; XMLHttpRequest does. @param {string} path @param {Sending} sending @returns {Promise<Received>} */
  #watched(path, sending) {
    const [method, body, headers] = this.#framed(sending);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(method, this.address(path));
      request.responseType = "arraybuffer";
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => event.lengthComputable && sending.onUpload?.(event.loaded / event.total);
      request.onload = () => resolve({status: request.status, headers: fields(request), bytes: request.response});
      request.onerror = () => reject(new Problem(0, {detail: AWAY}, ""));
      request.onabort = () => reject(new DOMException("Cancelled.", "AbortError"));
      if (sending.signal?.aborted) return request.onabort(new ProgressEvent("abort"));
      sending.signal?.addEventListener("abort", () => request.abort(), {once: true});
      request.send(/** @type {XMLHttpRequestBodyInit | null} */ (body));
    });
  }
}

/** @param {XMLHttpRequest} request */
function fields(request) {
  const lines = request.getAllResponseHeaders().trim().split(/[\r\n]+/);
  return new Headers(lines.filter(Boolean).map((line) => /** @type {[string, string]} */ ([line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()])));
}

/** @param {Received} received @returns {Record<string, any>} */
function words({bytes}) {
  try {
    const read = JSON.parse(new TextDecoder().decode(bytes));
    return read && typeof read === "object" ? read : {};
  } catch {
    return {};
  }
}

/** Return true for a request that its sender gave up. @param {unknown} error */
export const isAborted = (error) => error instanceof DOMException && error.name === "AbortError";
