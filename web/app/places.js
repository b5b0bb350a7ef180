// Places in the patient and voxels of a series.

/** @typedef {import("../viewer/series.js").Series} Series */

/**
 * The voxel, in fractions, of a place in the patient (x, y, z mm LPS); null where the series has no place.
 * @param {Series} series @param {number[]} point @returns {number[] | null}
 */
export function voxelOf(series, point) {
  const a = series.affine;
  if (!a) return null;
  const [m00, m01, m02, x, m10, m11, m12, y, m20, m21, m22, z] = a;
  const d = [point[0] - x, point[1] - y, point[2] - z];
  const minors = [m11 * m22 - m12 * m21, m12 * m20 - m10 * m22, m10 * m21 - m11 * m20];
  const determinant = m00 * minors[0] + m01 * minors[1] + m02 * minors[2];
  if (!determinant) return null;
  return [
    (d[0] * minors[0] + d[1] * (m02 * m21 - m01 * m22) + d[2] * (m01 * m12 - m02 * m11)) / determinant,
    (d[0] * minors[1] + d[1] * (m00 * m22 - m02 * m20) + d[2] * (m02 * m10 - m00 * m12)) / determinant,
    (d[0] * minors[2] + d[1] * (m01 * m20 - m00 * m21) + d[2] * (m00 * m11 - m01 * m10)) / determinant,
  ];
}

/** Millilitres of one voxel; null where it is unknown: of projections, and of slices with gaps. @param {Series} series */
export function voxelMillilitres(series) {
  const {spacing, shape, affine, header, volumetric} = series;
  const known = shape[0] > 1 ? volumetric : !!affine && !!header.thickness;
  return spacing && known ? spacing.reduce((product, step) => product * step, 1) / 1000 : null;
}
