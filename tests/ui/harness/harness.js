// The viewer alone on a page, for tests: pictures of the server that serves this page, and the pixels that are drawn.
import {rampOf, colourOf} from "/viewer/palettes.js";
import {parsePicture} from "/viewer/pictures.js";
import {planesOf} from "/viewer/planes.js";
import {collect} from "/viewer/series.js";
import {Viewer} from "/viewer/viewer.js";

const viewer = new Viewer(document.querySelector("#viewer"));
const events = [];
for (const type of ["pick", "length", "cursor", "window", "view"]) {
  viewer.addEventListener(type, (event) => events.push({type, ...event.detail}));
}

/** Load pictures in an order, and return what the series say. */
async function load(paths) {
  window.all = [];
  await add(paths);
  return all.map((series) => {
    const {uid, shape, affine, spacing, remarks, volumetric} = series;
    return {uid, shape, affine, spacing, remarks, volumetric, planes: planesOf(series)};
  });
}

async function overlay(path, facts) {
  return {...facts, data: new Uint8Array(await (await fetch(path)).arrayBuffer())};
}

async function add(paths) {
  for (const path of paths) collect(window.all, parsePicture(await (await fetch(path)).arrayBuffer()));
}

/** A pane's canvas as the address of a PNG. */
function picture(pane) {
  viewer.flush();
  return document.querySelectorAll("canvas")[pane].toDataURL();
}

window.harness = {viewer, events, load, add, picture, overlay, rampOf, colourOf};
