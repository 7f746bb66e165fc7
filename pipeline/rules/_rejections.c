/* Counts characters and repeated n-grams of many texts. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Counts the characters of each text that are in each of some classes.

   codes: the texts one after the other, a character before each that is in none.
   starts: where the character before each text stands, and the end of the last.
   table: by code point a bit for each class.
   counts: gets a row for each text. */
void count_classes(const uint32_t *codes, const int64_t *starts, int64_t texts,
                   const uint8_t *table, int64_t classes, uint32_t *counts) {
  for (int64_t text = 0; text < texts; text++, counts += classes) {
    uint32_t found[8] = {0};
    for (int64_t at = starts[text] + 1; at < starts[text + 1]; at++)
      for (int bit = 0; bit < 8; bit++) found[bit] += table[codes[at]] >> bit & 1;
    memcpy(counts, found, classes * sizeof(*counts));
  }
}

static const uint64_t BASE = 0x9E3779B97F4A7C15; /* 2^64 divided by the golden ratio, odd */

/* Returns how many of the n-grams of a text are equal to one before.

   last: 1 + the place of the last n-gram that was put into each slot, all 0; slots are a power of
   two, more than there are n-grams. */
static int64_t count_repeated(const uint32_t *codes, int64_t length, int64_t width,
                              uint32_t *last, uint64_t slots) {
  uint64_t hash = 0, highest = 1;
  int64_t repeated = 0;
  for (int64_t place = 0; place < width; place++) highest *= BASE;
  for (int64_t end = 0; end < length; end++) {
    hash = hash * BASE + codes[end];
    int64_t begin = end + 1 - width;
    if (begin < 0) continue;
    /* The code that leaves has been multiplied by the base once for each of the others. */
    if (begin > 0) hash -= codes[begin - 1] * highest;
    uint64_t slot = (hash ^ hash >> 32) * BASE >> 32 & (slots - 1);
    while (last[slot] &&
           memcmp(codes + last[slot] - 1, codes + begin, width * sizeof(*codes)) != 0)
      slot = (slot + 1) & (slots - 1);
    repeated += last[slot] != 0;
    last[slot] = (uint32_t)begin + 1;
  }
  return repeated;
}

/* Counts the n-grams of each text that are equal to one before; codes and starts as above.

   Returns 0, or -1 without memory. */
int64_t count_repeated_ngrams(const uint32_t *codes, const int64_t *starts, int64_t texts,
                              int64_t width, int64_t *counts) {
  uint64_t room = 0;
  uint32_t *last = NULL;
  for (int64_t text = 0; text < texts; text++) {
    int64_t length = starts[text + 1] - starts[text] - 1;
    uint64_t slots = 1;
    while (slots < 2 * (uint64_t)length) slots *= 2;
    if (slots > room) {
      free(last);
      if (!(last = malloc(slots * sizeof(*last)))) return -1;
      room = slots;
    }
    memset(last, 0, slots * sizeof(*last));
    counts[text] = count_repeated(codes + starts[text] + 1, length, width, last, slots);
  }
  free(last);
  return 0;
}
