/* Grey from colour: a PPM (P6) of 8 bits in, a PGM (P5) of 8 bits out.

   Y = 0.2126 R + 0.7152 G + 0.0722 B (ITU-R BT.709-6, item 3.2), in integers: the weights are 65536ths and sum to one.

   pip install ziglang==0.17.1
   python -m ziglang cc -target wasm32-wasi -O3 -msimd128 -s -o grayscale.wasm grayscale.c */

#include "netpbm.h"

int main(void) {
    struct image image = read_image('6', 3);
    if (image.largest != 255) refuse("The function takes colours of 0 to 255.");
    size_t count = image.columns * image.rows;
    uint8_t *grey = image.samples; /* each pixel is read before its place is written */
    for (size_t i = 0; i < count; i++) {
        const uint8_t *rgb = image.samples + 3 * i;
        grey[i] = (uint8_t)((13933u * rgb[0] + 46871u * rgb[1] + 4732u * rgb[2] + 32768u) >> 16);
    }
    write_grey(grey, image.columns, image.rows);
    return 0;
}
