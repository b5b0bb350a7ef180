/* The outline of a mask: a PGM (P5) of 8 bits in, a PGM of 0 and 255 out. An embedded function, without streams.

   A pixel is on the outline if it is inside, and one of its four neighbours is outside or beyond the image.

   pip install ziglang==0.17.1
   python -m ziglang cc -target wasm32-wasi -mexec-model=reactor -O3 -msimd128 -s -o outline.wasm outline.c */

#include "netpbm.h"

__attribute__((export_name("alloc"))) uint8_t *alloc(size_t size) {
    uint8_t *place = malloc(size ? size : 1);
    if (!place) refuse("The image is larger than the memory of the function.");
    return place;
}

__attribute__((export_name("infer"))) uint64_t infer(uint8_t *bytes, size_t size) {
    struct image mask = parse(bytes, size, '5', 1);
    if (mask.largest > 255) refuse("The function takes masks of 8 bits.");
    size_t width = mask.columns, height = mask.rows;
    uint8_t *output = alloc(64 + width * height);
    size_t header = put_header((char *)output, width, height);
    uint8_t *outline = output + header;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const uint8_t *here = mask.samples + y * width + x;
            int within = x && y && x + 1 < width && y + 1 < height;
            int enclosed = within && here[-1] && here[1] && *(here - width) && here[width];
            outline[y * width + x] = *here && !enclosed ? 255 : 0;
        }
    return (uint64_t)(uintptr_t)output << 32 | (header + width * height);
}
