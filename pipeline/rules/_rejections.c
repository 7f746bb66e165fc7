/* Counts characters and repeated n-grams of many texts. */

#include <stdbool.h>
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

static uint64_t mix(uint64_t hash) { return (hash ^ hash >> 32) * BASE >> 32; }

/* Slots, a power of two of them, to be used for one text after the other. */
typedef struct {
  uint32_t *slots;
  uint64_t count;
} Table;

/* Empties a table of at least `least` slots. Returns the mask of their numbers, 0 without memory. */
static uint64_t open_table(Table *table, uint64_t least) {
  uint64_t slots = 2;
  while (slots < least) slots *= 2;
  if (slots > table->count) {
    free(table->slots);
    table->slots = malloc(slots * sizeof(*table->slots));
    table->count = table->slots ? slots : 0;
  }
  if (slots > table->count) return 0;
  memset(table->slots, 0, slots * sizeof(*table->slots));
  return slots - 1;
}

/* Hashes the n-grams of a text one after the other: polynomials in BASE modulo 2^64. */
typedef struct {
  uint64_t hash, highest;
  int64_t width;
} Rolling;

static Rolling start_rolling(int64_t width) {
  Rolling rolling = {0, 1, width};
  for (int64_t place = 0; place < width; place++) rolling.highest *= BASE;
  return rolling;
}

/* Goes on to the n-gram that ends with a code, and begins at `begin` if that is not negative. */
static void roll(Rolling *rolling, const uint32_t *codes, int64_t end, int64_t begin) {
  rolling->hash = rolling->hash * BASE + codes[end];
  /* The code that leaves has been multiplied by the base once for each of the others. */
  if (begin > 0) rolling->hash -= codes[begin - 1] * rolling->highest;
}

/* Tells whether more than `most` n-grams may be equal to one before: those that share a bit with
   one, of some bits for each. */
static bool may_repeat(const uint32_t *codes, int64_t length, int64_t width, int64_t most,
                      uint32_t *bits, uint64_t mask) {
  Rolling rolling = start_rolling(width);
  int64_t shared = 0;
  for (int64_t end = 0; end < length; end++) {
    roll(&rolling, codes, end, end + 1 - width);
    if (end + 1 < width) continue;
    uint64_t bit = mix(rolling.hash) & (32 * mask + 31);
    shared += bits[bit >> 5] >> (bit & 31) & 1;
    bits[bit >> 5] |= (uint32_t)1 << (bit & 31);
  }
  return shared > most;
}

/* Tells whether more than `most` n-grams are equal to one before.

   last: 1 + the place of the last n-gram that was put into each slot. */
static bool does_repeat(const uint32_t *codes, int64_t length, int64_t width, int64_t most,
                       uint32_t *last, uint64_t mask) {
  Rolling rolling = start_rolling(width);
  int64_t repeated = 0;
  for (int64_t end = 0; end < length; end++) {
    int64_t begin = end + 1 - width;
    roll(&rolling, codes, end, begin);
    if (begin < 0) continue;
    uint64_t slot = mix(rolling.hash) & mask;
    while (last[slot] &&
           memcmp(codes + last[slot] - 1, codes + begin, width * sizeof(*codes)) != 0)
      slot = (slot + 1) & mask;
    repeated += last[slot] != 0;
    last[slot] = (uint32_t)begin + 1;
  }
  return repeated > most;
}

/* Tells of each text whether more than `most` of its n-grams are equal to one before; codes and
   starts as above. Returns 0, or -1 without memory. */
int64_t find_repeated_ngrams(const uint32_t *codes, const int64_t *starts, int64_t texts,
                             int64_t width, const int64_t *most, bool *found) {
  enum { BITS = 8 }; /* for each n-gram: one of sixteen shares one by chance */
  Table table = {0};
  int64_t text = 0;
  for (; text < texts; text++) {
    const uint32_t *first = codes + starts[text] + 1;
    int64_t length = starts[text + 1] - starts[text] - 1;
    uint64_t mask = open_table(&table, BITS * length / 32);
    if (!mask) break;
    found[text] = may_repeat(first, length, width, most[text], table.slots, mask);
    if (!found[text]) continue;
    mask = open_table(&table, 2 * length);
    if (!mask) break;
    found[text] = does_repeat(first, length, width, most[text], table.slots, mask);
  }
  free(table.slots);
  return text == texts ? 0 : -1;
}

/* Tells whether a line is equal to another one; behind both stands a line feed. */
static bool is_line(const uint32_t *line, const uint32_t *other, int64_t length) {
  return memcmp(line, other, (length + 1) * sizeof(*line)) == 0;
}

/* Counts the characters of each text in lines that are equal to one before. Returns 0, or -1
   without memory. */
int64_t count_repeated_lines(const uint32_t *codes, const int64_t *starts, int64_t texts,
                             const uint32_t *line_ends, int64_t *counts) {
  Table table = {0};
  int64_t text = 0;
  for (; text < texts; text++) {
    counts[text] = 0;
    if (!line_ends[text]) continue;
    const uint32_t *first = codes + starts[text] + 1;
    int64_t length = starts[text + 1] - starts[text] - 1;
    uint64_t mask = open_table(&table, 2 * ((uint64_t)line_ends[text] + 1));
    if (!mask) break;
    for (int64_t begin = 0, end = 0; begin <= length; begin = ++end) {
      uint64_t hash = 0;
      for (; end < length && first[end] != '\n'; end++) hash = hash * BASE + first[end];
      uint32_t *slot = table.slots + (mix(hash) & mask);
      while (*slot && !is_line(first + *slot - 1, first + begin, end - begin))
        slot = table.slots + ((uint64_t)(slot - table.slots + 1) & mask);
      if (*slot) counts[text] += end - begin;
      *slot = (uint32_t)begin + 1;
    }
  }
  free(table.slots);
  return text == texts ? 0 : -1;
}
