/* A mask of what is bright: a PGM (P5) of 8 or 16 bits in, a PGM of 0 and 255 out.

   The threshold has the largest variance between the two classes (N. Otsu, A threshold selection method from gray-level
   histograms, IEEE Trans. SMC 9, 1979); a pixel above it is in the mask. An image of one value has an empty mask.

   pip install ziglang==0.17.1
   python -m ziglang cc -target wasm32-wasi -O3 -msimd128 -s -o otsu_mask.wasm otsu_mask.c */

#include "netpbm.h"

static uint32_t histogram[65536];

static unsigned threshold(size_t count) {
    double total = 0, below = 0, best = -1;
    size_t pixels = 0;
    unsigned found = 65535;
    for (unsigned value = 0; value < 65536; value++) total += (double)value * histogram[value];
    for (unsigned value = 0; value < 65535; value++) {
        if (!histogram[value]) continue; /* the same classes as before */
        pixels += histogram[value];
        below += (double)value * histogram[value];
        if (pixels == count) break; /* nothing is above */
        double difference = below / pixels - (total - below) / (count - pixels);
        double variance = (double)pixels * (count - pixels) * difference * difference;
        if (variance > best) best = variance, found = value;
    }
    return found;
}

int main(void) {
    struct image image = read_image('5', 1);
    size_t count = image.columns * image.rows;
    int wide = image.largest > 255;
    uint16_t *values = malloc(count * sizeof *values);
    if (!values) refuse("The image is larger than the memory of the function.");
    for (size_t i = 0; i < count; i++) {
        values[i] = wide ? (uint16_t)(image.samples[2 * i] << 8 | image.samples[2 * i + 1]) : image.samples[i];
        histogram[values[i]]++;
    }
    unsigned above = threshold(count);
    for (size_t i = 0; i < count; i++) image.samples[i] = values[i] > above ? 255 : 0;
    write_grey(image.samples, image.columns, image.rows);
    return 0;
}
