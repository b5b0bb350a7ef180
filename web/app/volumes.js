// Regions of masks: how many voxels they have, and how well two agree.

/** @typedef {import("./types.js").GridFinding} GridFinding */

/**
 * The regions of a mask by their values: their names and what belongs to them.
 * @param {GridFinding} finding @returns {{value: number, name: string, colour: number[], has: (value: number) => boolean}[]}
 */
export function regions(finding) {
  const colour = finding.colour ?? [255, 255, 255];
  if (finding.kind === "labels") {
    return [...(finding.labels ?? [])].map(([value, name]) => ({value, name, colour: finding.palette?.[value] ?? colour, has: (/** @type {number} */ each) => each === value}));
  }
  const above = finding.kind === "probability" ? finding.threshold * 255 : 0;
  return [{value: 1, name: finding.name, colour, has: (/** @type {number} */ each) => each > above}];
}

/** Voxels of each region. @param {GridFinding} finding @returns {number[]} */
export function voxels(finding) {
  const counts = new Float64Array(256);
  const {data} = finding;
  for (let at = 0; at < data.length; at++) counts[data[at]]++;
  return regions(finding).map(({has}) => counts.reduce((sum, count, value) => (has(value) ? sum + count : sum), 0));
}

/**
 * How two masks of one grid agree, region by region of the same name; null where one of them lacks it.
 * @param {GridFinding} one @param {GridFinding} other
 * @returns {{name: string, one: number | null, other: number | null, both: number, dice: number | null}[]}
 */
export function agreement(one, other) {
  const pairs = new Float64Array(65536);
  for (let at = 0; at < one.data.length; at++) pairs[(one.data[at] << 8) | other.data[at]]++;
  const first = regions(one), second = regions(other);
  const single = first.length === 1 && second.length === 1;
  const names = single ? [first[0].name] : [...new Set([...first, ...second].map(({name}) => name))];
  return names.map((name) => {
    const a = single ? first[0] : first.find((each) => each.name === name);
    const b = single ? second[0] : second.find((each) => each.name === name);
    let inOne = 0, inOther = 0, both = 0;
    pairs.forEach((count, key) => {
      if (!count) return;
      const left = a?.has(key >> 8), right = b?.has(key & 255);
      if (left) inOne += count;
      if (right) inOther += count;
      if (left && right) both += count;
    });
    const dice = a && b && inOne + inOther ? (2 * both) / (inOne + inOther) : null;
    return {name, one: a ? inOne : null, other: b ? inOther : null, both, dice};
  });
}

/** 1 where only the first mask is, 2 where only the second, 3 where they have different labels; 0 where they agree. @param {GridFinding} one @param {GridFinding} other @returns {Uint8Array} */
export function difference(one, other) {
  const names = [...new Set([...regions(one), ...regions(other)].map(({name}) => name))];
  const single = one.kind !== "labels" && other.kind !== "labels";
  const a = members(one, names, single), b = members(other, names, single);
  const found = new Uint8Array(one.data.length);
  for (let at = 0; at < found.length; at++) {
    const left = a[one.data[at]], right = b[other.data[at]];
    if (left !== right) found[at] = left && right ? 3 : left ? 1 : 2;
  }
  return found;
}

/** For each value the number of its region among `names`, from 1; 0 where it belongs to none. @param {GridFinding} finding @param {string[]} names @param {boolean} single */
function members(finding, names, single) {
  const all = regions(finding);
  return Uint8Array.from({length: 256}, (_, value) => {
    const found = all.find(({has}) => has(value));
    return found ? (single ? 1 : names.indexOf(found.name) + 1) : 0;
  });
}
