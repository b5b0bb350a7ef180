// Build the page into gateway/endpoints/pages/ui, the same bytes each time; with --check, compare instead of writing.
import {createHash} from "node:crypto";
import {mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync} from "node:fs";
import {dirname, join, relative, sep} from "node:path";
import {fileURLToPath} from "node:url";
import {build} from "esbuild";

const WEB = join(dirname(fileURLToPath(import.meta.url)), "..");
const OUT = join(WEB, "..", "gateway", "endpoints", "pages", "ui");

/** Sources: what a change of which asks for another build. @param {string} folder @returns {string[]} */
function sourcesBelow(folder) {
  return readdirSync(folder).sort().flatMap((name) => {
    const path = join(folder, name);
    if (name === "node_modules" || name.startsWith(".")) return [];
    return statSync(path).isDirectory() ? sourcesBelow(path) : [relative(WEB, path).split(sep).join("/")];
  });
}

/** @param {string | Uint8Array} bytes */
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The licences of the packages that are in the bundle. @param {string[]} inputs @returns {string} */
function licences(inputs) {
  const folders = [...new Set(inputs.map((path) => /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[0] ?? ""))];
  const texts = folders.filter(Boolean).sort().map((folder) => {
    const {name, version, license} = JSON.parse(readFileSync(join(WEB, folder, "package.json"), "utf8"));
    const file = readdirSync(join(WEB, folder)).find((each) => /^licen[cs]e/i.test(each));
    return `${name} ${version}: ${license}\n\n${file ? readFileSync(join(WEB, folder, file), "utf8").trim() : ""}\n`;
  });
  const own = "The scripts and styles of this page are a part of the gateway: Apache-2.0.\n";
  return own + (texts.length ? texts.map((text) => `\n----\n${text}`).join("") : "They contain no code of other projects.\n");
}

/** The files of the page by name. @returns {Promise<Map<string, string | Uint8Array>>} */
async function built() {
  const result = await build({
    absWorkingDir: WEB,
    entryPoints: {app: "app/main.js", "app-style": "app/main.css"},
    outdir: "out",
    entryNames: "[name]",
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    logLevel: "warning",
  });
  const files = new Map();
  for (const {path, contents} of result.outputFiles) {
    files.set(relative(join(WEB, "out"), path).replace("app-style.css", "app.css"), contents);
  }
  files.set("index.html", readFileSync(join(WEB, "index.html")));
  files.set("licences.txt", licences(Object.keys(result.metafile.inputs)));
  const sources = Object.fromEntries(sourcesBelow(WEB).map((path) => [path, sha256(readFileSync(join(WEB, path)))]));
  const digests = Object.fromEntries([...files].sort().map(([name, bytes]) => [name, sha256(bytes)]));
  files.set("manifest.json", JSON.stringify({sources, built: digests}, null, 1) + "\n");
  return files;
}

const files = await built();
if (process.argv.includes("--check")) {
  const stale = [...files].filter(([name, bytes]) => {
    try {
      return sha256(readFileSync(join(OUT, name))) !== sha256(bytes);
    } catch {
      return true;
    }
  });
  if (stale.length) {
    console.error(`The page is not what its sources build: run \`make web\` (${stale.map(([name]) => name).join(", ")}).`);
    process.exitCode = 1;
  }
} else {
  rmSync(OUT, {recursive: true, force: true});
  mkdirSync(OUT, {recursive: true});
  for (const [name, bytes] of files) writeFileSync(join(OUT, name), bytes);
}
