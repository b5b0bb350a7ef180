// The shapes that the gateway answers with, and what the modules of the page pass to each other. Types alone.

/** @typedef {[number, number, number]} Triple  (slice, row, column), or x, y, z in mm LPS */
/** @typedef {[number, number, number]} Colour  red, green, blue, 0 to 255 */

/**
 * What the gateway offers this caller: `GET /ui/config`.
 * @typedef {object} Config
 * @property {string} version
 * @property {{name: string, roles: string[]} | null} caller
 * @property {boolean} authentication
 * @property {string} csrf
 * @property {boolean} store
 * @property {boolean} runs
 * @property {boolean} sessions
 * @property {boolean} dicomweb
 * @property {string | null} ohif
 * @property {Record<string, number>} limits
 */

/**
 * A model: an entry of `GET /ui/models`.
 * @typedef {object} Card
 * @property {string} route
 * @property {string} name
 * @property {string | null} version
 * @property {string} summary
 * @property {string} description
 * @property {string} state
 * @property {string} reason
 * @property {string[]} sentences
 * @property {{name: string, kind: string, many: boolean, optional: boolean}[]} inputs
 * @property {Schema} parameters
 * @property {string[] | null} outputs
 * @property {boolean} interactive
 * @property {boolean} durable  it may be a run
 * @property {boolean} typed
 */

/** @typedef {Record<string, any>} Schema  JSON Schema of an object or of a member */

/** @typedef {{route: string, accepted: boolean, reasons: string[]}} Verdict */

/**
 * A question of a model (docs/interactive.md).
 * @typedef {object} Question
 * @property {string} question
 * @property {string} [kind]
 * @property {string[]} [choices]
 * @property {any} [default]
 * @property {number[]} [shape]
 * @property {string} [SeriesInstanceUID]
 */

/** @typedef {{name: string, type: string, bytes: Uint8Array}} Part */

/**
 * An answer as it was sent: its JSON, and one buffer for each entry of `parts`.
 * @typedef {object} Answer
 * @property {string} id
 * @property {string} route
 * @property {string} model
 * @property {string} version
 * @property {Record<string, any>} parameters
 * @property {Record<string, any>} document
 * @property {Part[]} parts
 * @property {string} hashes
 * @property {string | null} receipt
 * @property {string} requestId
 * @property {number} seconds
 * @property {Date} time
 * @property {((accept: string) => Promise<Blob>) | null} again  asks for the answer in another form
 */

/**
 * A finding as the viewer draws it (web/viewer/overlays.js), with what the page knows of it.
 * @typedef {import("../viewer/overlays.js").Overlay & {series: string, group: string, labels?: Map<number, string>}} Finding
 */

/** @typedef {import("../viewer/overlays.js").GridOverlay & {series: string, group: string, labels?: Map<number, string>}} GridFinding */

/**
 * What the page shows of an answer.
 * @typedef {object} Reading
 * @property {Finding[]} findings
 * @property {{title: string, value: any}[]} facts
 * @property {{name: string, kind: string, bytes: Uint8Array}[]} objects
 * @property {string[]} notes
 */

export {};
