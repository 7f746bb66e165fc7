/* Looks for the triggers of edits in many texts; scanning.py says what the bits of its table mean. */

#include <stdbool.h>
#include <stdint.h>

static bool begins_run(const uint32_t *codes, int64_t left, int64_t run_chars) {
  if (left < run_chars) return false;
  for (int64_t place = 1; place < run_chars; place++)
    if (codes[place] != codes[0]) return false;
  return true;
}

/* Writes the flags of `texts` texts.

   codes: the texts one after the other, a line feed before and behind each.
   starts: where the line feed before each text stands, and where the last one of all does.
   runs: the flags of triggers that must stand `run_chars` times in a row. */
void scan(const uint32_t *codes, const int64_t *starts, int64_t texts, const uint32_t *table,
          uint32_t shift, uint32_t any_second, uint32_t runs, int64_t run_chars,
          uint32_t *flags) {
  for (int64_t text = 0; text < texts; text++) {
    uint32_t found = 0, bits = table[codes[starts[text]]];
    for (int64_t at = starts[text]; at < starts[text + 1]; at++) {
      uint32_t next = table[codes[at + 1]];
      uint32_t hits = bits & (next >> shift | any_second) & ~found;
      if (hits & runs && !begins_run(codes + at, starts[texts] + 1 - at, run_chars)) hits &= ~runs;
      found |= hits;
      bits = next;
    }
    flags[text] = found;
  }
}
