// Files that a person drops or chooses, in name order, without what systems add to folders.

/** @typedef {{file: File, path: string}} Chosen */

const ADDED = /^(\..*|__MACOSX|DICOMDIR|Thumbs\.db|desktop\.ini)$/i;
const ORDER = new Intl.Collator("en", {numeric: true});

/** The type of a file that is no DICOM, by the end of its name. */
export const DICOM = "application/dicom";
const TYPES = /** @type {[RegExp, string][]} */ ([[/\.nii(\.gz)?$/i, "application/x-nifti"]]);

/** The media type of a file, by its name. @param {string} name */
export const typeOf = (name) => TYPES.find(([pattern]) => pattern.test(name))?.[1] ?? DICOM;

/** Files below everything that was dropped. Call it in the event: the transfer is empty afterwards. @param {DataTransfer} transfer @returns {Promise<Chosen[]>} */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null).filter((entry) => entry !== null);
  if (!entries.length) return inOrder([...transfer.files].map((file) => ({file, path: file.name})));
  return inOrder((await Promise.all(entries.map(below))).flat());
}

/** Files of an input. @param {FileList | null} list @returns {Chosen[]} */
export const chosen = (list) => inOrder([...(list ?? [])].map((file) => ({file, path: file.webkitRelativePath || file.name})));

/** @param {Chosen[]} files */
function inOrder(files) {
  const kept = files.filter(({path}) => path.split("/").every((name) => !ADDED.test(name)));
  return kept.sort((one, other) => ORDER.compare(one.path, other.path));
}

/** @param {FileSystemEntry} entry @returns {Promise<Chosen[]>} */
async function below(entry) {
  if (ADDED.test(entry.name)) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    return [{file, path: entry.fullPath.replace(/^\//, "")}];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));  // a hundred at a time
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(below))).flat());
  }
}
