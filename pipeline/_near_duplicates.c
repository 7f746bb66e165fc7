/* Signatures and similarities of texts by their n-grams; near_duplicates.py says what they are for.

   A text is code points; spaces and line feeds in it do not count. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NGRAM_CHARS = 16 };

static const uint32_t BASE = 0x9E3779B1; /* 2^32 divided by the golden ratio, odd (Knuth 6.4) */
static const uint32_t EMPTY = 0xFFFFFFFF;

static bool counts(uint32_t code) { return code != ' ' && code != '\n'; }

/* Mixes the bits of a value; source: MurmurHash3 (Appleby), fmix32. */
static uint32_t mix_32(uint32_t value) {
  value = (value ^ value >> 16) * 0x85EBCA6B;
  value = (value ^ value >> 13) * 0xC2B2AE35;
  return value ^ value >> 16;
}

/* Likewise, fmix64. */
static uint64_t mix_64(uint64_t value) {
  value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD;
  value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53;
  return value ^ value >> 33;
}

static uint32_t power_of_base(int64_t exponent) {
  uint32_t power = 1;
  for (; exponent > 0; exponent--) power *= BASE;
  return power;
}

/* Writes the lowest hash of the n-grams of a text in each bin, EMPTY where there is none; the hash
   of an n-gram is a polynomial in BASE modulo 2^32, mixed. Returns the number of n-grams. */
static int64_t sign(const uint32_t *codes, int64_t count, int64_t width, int64_t bins,
                    uint32_t *lowest) {
  uint32_t ring[MOST_NGRAM_CHARS] = {0}, hash = 0, highest = power_of_base(width);
  int64_t chars = 0, place = 0;
  for (int64_t bin = 0; bin < bins; bin++) lowest[bin] = EMPTY;
  for (int64_t at = 0; at < count; at++) {
    if (!counts(codes[at])) continue;
    hash = hash * BASE + codes[at] - ring[place] * highest;
    ring[place] = codes[at];
    if (++place == width) place = 0;
    if (++chars < width) continue;
    uint32_t mixed = mix_32(hash);
    uint32_t *of_bin = lowest + ((uint64_t)(mixed >> 16) * bins >> 16);
    if (mixed < *of_bin) *of_bin = mixed;
  }
  return chars - width + 1;
}

/* Returns the value of a bin, or of the first in its order that is not empty. All are if the only
   hash is EMPTY itself. */
static uint32_t value_of(const uint32_t *lowest, const int64_t *donors, int64_t bins, int64_t bin) {
  uint32_t value = lowest[bin];
  donors += bin * bins;
  for (int64_t donor = 0; donor < bins && value == EMPTY; donor++) value = lowest[donors[donor]];
  return value;
}

/* Writes the keys of the bands of each text.

   codes: the texts one after the other, a character before each that is in none.
   starts: where the character before each text stands, and the end of the last.
   donors: for each of bands x rows bins all bins, in the order in which it takes their values.
   lowest: room for the values of all bins.

   Returns 0, or -1 if a text has no n-gram, or these are too wide. */
int64_t band_keys(const uint32_t *codes, const int64_t *starts, int64_t texts, int64_t width,
                  int64_t bands, int64_t rows, const int64_t *donors, uint32_t *lowest,
                  uint64_t *keys) {
  int64_t bins = bands * rows;
  if (width > MOST_NGRAM_CHARS) return -1;
  for (int64_t text = 0; text < texts; text++) {
    const uint32_t *first = codes + starts[text] + 1;
    if (sign(first, starts[text + 1] - starts[text] - 1, width, bins, lowest) < 1) return -1;
    for (int64_t band = 0; band < bands; band++) {
      uint64_t key = band + 1;
      for (int64_t bin = band * rows; bin < (band + 1) * rows; bin++)
        key = mix_64(key ^ value_of(lowest, donors, bins, bin));
      *keys++ = key;
    }
  }
  return 0;
}

typedef struct {
  uint32_t hash;
  uint32_t place; /* 1 + where in `codes` it begins; 0 for none */
  bool in_first, in_second;
} Ngram;

/* Returns the slot of an n-gram, or the empty one where it belongs. */
static Ngram *find_ngram(Ngram *slots, uint64_t mask, const uint32_t *codes, int64_t width,
                         uint32_t hash, int64_t begin) {
  uint64_t slot = mix_32(hash) & mask;
  while (slots[slot].place &&
         (slots[slot].hash != hash ||
          memcmp(codes + slots[slot].place - 1, codes + begin, width * sizeof(*codes)) != 0))
    slot = (slot + 1) & mask;
  return slots + slot;
}

static int64_t copy_counted(const uint32_t *from, int64_t count, uint32_t *to) {
  int64_t copied = 0;
  for (int64_t at = 0; at < count; at++) {
    to[copied] = from[at];
    copied += counts(from[at]);
  }
  return copied;
}

/* Counts the different n-grams of two texts: those that they have in common, and those of one of
   them or both. Returns 0, or -1 without memory. */
int64_t count_common_ngrams(const uint32_t *first, int64_t first_count, const uint32_t *second,
                            int64_t second_count, int64_t width, int64_t *numbers) {
  uint64_t slots = 2;
  while (slots < 2 * (uint64_t)(first_count + second_count)) slots *= 2;
  Ngram *ngrams = calloc(slots, sizeof(*ngrams));
  uint32_t *codes = malloc((first_count + second_count + 1) * sizeof(*codes));
  uint32_t highest = power_of_base(width);
  int64_t both = 0, either = 0;
  if (ngrams && codes) {
    int64_t middle = copy_counted(first, first_count, codes);
    int64_t end = middle + copy_counted(second, second_count, codes + middle);
    uint32_t hash = 0;
    for (int64_t at = 0, text_begin = 0; at < end; at++) {
      if (at == middle) {
        text_begin = middle;
        hash = 0;
      }
      int64_t begin = at + 1 - width;
      hash = hash * BASE + codes[at];
      if (begin > text_begin) hash -= codes[begin - 1] * highest;
      if (begin < text_begin) continue;
      Ngram *ngram = find_ngram(ngrams, slots - 1, codes, width, hash, begin);
      either += !ngram->place;
      ngram->hash = hash;
      ngram->place = (uint32_t)begin + 1;
      if (at < middle) {
        ngram->in_first = true;
      } else {
        both += ngram->in_first && !ngram->in_second;
        ngram->in_second = true;
      }
    }
  }
  numbers[0] = both;
  numbers[1] = either;
  int64_t result = ngrams && codes ? 0 : -1;
  free(ngrams);
  free(codes);
  return result;
}
