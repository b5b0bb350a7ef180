/* Netpbm images on standard input and output: P5 (grey) and P6 (RGB), of 8 or 16 bits, comments allowed.

   A function reads all of its input, and ends with status 1 and a sentence on standard error where it is another. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct image {
    uint8_t *samples; /* rows from the top, samples of 16 bits in big endian */
    size_t columns, rows;
    unsigned largest;
};

static inline void refuse(const char *sentence) {
    (void)!write(STDERR_FILENO, sentence, strlen(sentence));
    _exit(1);
}

static inline size_t read_all(uint8_t **into) {
    size_t room = 1 << 16, size = 0;
    uint8_t *bytes = malloc(room);
    for (;;) {
        if (!bytes) refuse("The image is larger than the memory of the function.");
        ssize_t count = read(STDIN_FILENO, bytes + size, room - size);
        if (count < 0) refuse("The input cannot be read.");
        if (count == 0) break;
        size += (size_t)count;
        if (size == room) bytes = realloc(bytes, room *= 2);
    }
    *into = bytes;
    return size;
}

/* A number of the header, behind white space and comments; 0 where there is none. */
static inline size_t number(const uint8_t *bytes, size_t size, size_t *at) {
    while (*at < size && (strchr(" \t\r\n#", bytes[*at]) && bytes[*at])) {
        if (bytes[*at] == '#') while (*at < size && bytes[*at] != '\n') ++*at;
        if (*at < size) ++*at;
    }
    size_t value = 0;
    for (; *at < size && bytes[*at] >= '0' && bytes[*at] <= '9' && value < 1 << 20; ++*at)
        value = value * 10 + (bytes[*at] - '0');
    return value;
}

static inline struct image parse(uint8_t *bytes, size_t size, char kind, size_t channels) {
    struct image image;
    size_t at = 2;
    if (size < 2 || bytes[0] != 'P' || bytes[1] != (uint8_t)kind)
        refuse(kind == '6' ? "The input is no colour image in PPM (P6)." : "The input is no grey image in PGM (P5).");
    image.columns = number(bytes, size, &at);
    image.rows = number(bytes, size, &at);
    image.largest = (unsigned)number(bytes, size, &at);
    if (!image.columns || !image.rows || !image.largest || image.largest > 65535 || at >= size)
        refuse("The header of the image is damaged.");
    ++at; /* one white space */
    uint64_t wanted = (uint64_t)image.columns * image.rows * channels * (image.largest > 255 ? 2 : 1);
    if (wanted != size - at) refuse("The image is not as long as its header states.");
    image.samples = bytes + at;
    return image;
}

static inline struct image read_image(char kind, size_t channels) {
    uint8_t *bytes;
    size_t size = read_all(&bytes);
    return parse(bytes, size, kind, channels);
}

static inline void write_all(const uint8_t *bytes, size_t size) {
    while (size) {
        ssize_t count = write(STDOUT_FILENO, bytes, size);
        if (count <= 0) refuse("The output cannot be written.");
        bytes += count;
        size -= (size_t)count;
    }
}

static inline char *put(char *text, size_t value) {
    char digits[20];
    int count = 0;
    do digits[count++] = (char)('0' + value % 10); while (value /= 10);
    while (count) *text++ = digits[--count];
    return text;
}

/* The header of a grey image of 8 bits, which needs 64 bytes of room; returns its length. */
static inline size_t put_header(char *header, size_t columns, size_t rows) {
    char *end = header + 3;
    memcpy(header, "P5\n", 3);
    end = put(end, columns);
    *end++ = ' ';
    end = put(end, rows);
    memcpy(end, "\n255\n", 5);
    return (size_t)(end + 5 - header);
}

static inline void write_grey(const uint8_t *samples, size_t columns, size_t rows) {
    char header[64];
    write_all((const uint8_t *)header, put_header(header, columns, rows));
    write_all(samples, columns * rows);
}
