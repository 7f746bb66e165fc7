/* Whole-word masking of packed sequences, row by row; masking.py says what is done and why. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  int32_t begin;  /* column of its first token */
  int32_t before; /* countable tokens of the row that stand before it */
} Unit;

/* Lists the units of a row, and one behind them; returns how many there are. */
static int64_t list_units(const uint16_t *token_ids, const bool *word_starts, int64_t columns,
                          uint16_t first_ordinary_id, Unit *units) {
  int64_t count = 0;
  int32_t countable = 0;
  for (int32_t column = 0; column < columns; column++) {
    units[count] = (Unit){column, countable}; /* stays only if a unit begins here */
    count += word_starts[column];
    countable += token_ids[column] >= first_ordinary_id;
  }
  units[count] = (Unit){(int32_t)columns, countable};
  return count;
}

/* Writes priority and number of the units below a limit, or of the others, behind `keys`. */
static int64_t add_keys(const uint32_t *priorities, int64_t count, uint64_t limit, int below,
                        uint64_t *keys) {
  int64_t added = 0;
  for (int64_t unit = 0; unit < count; unit++) {
    keys[added] = (uint64_t)priorities[unit] << 32 | (uint64_t)unit;
    added += (priorities[unit] < limit) == below;
  }
  return added;
}

/* Sorts a few keys: by insertion, which nothing beats on some dozens of them. */
static void sort_keys(uint64_t *keys, int64_t count) {
  for (int64_t place = 1; place < count; place++) {
    uint64_t key = keys[place];
    int64_t free = place;
    for (; free > 0 && keys[free - 1] > key; free--) keys[free] = keys[free - 1];
    keys[free] = key;
  }
}

static int32_t length_of(const Unit *unit) { return unit[1].before - unit[0].before; }

/* Chooses what is masked of `rows` sequences.

   priorities, coins: of each unit that begins in `word_starts`, and of each sequence.
   share_limit: units of lower priority are sorted at first.
   slots: gets the places of all tokens of the chosen units, by sequence, in order of priority.
   countable, masked: get the number of such tokens of each sequence.

   Returns the number of slots, or -1 without memory. */
int64_t choose_slots(const uint16_t *token_ids, const bool *word_starts,
                     const uint32_t *priorities, const double *coins, int64_t rows,
                     int64_t columns, double masked_lm_prob, int64_t most_masked,
                     uint64_t share_limit, uint16_t first_ordinary_id, int64_t *slots,
                     int32_t *countable, int32_t *masked) {
  Unit *units = malloc((columns + 1) * sizeof(Unit));
  uint64_t *keys = malloc((columns + 1) * sizeof(uint64_t));
  int64_t found = units && keys ? 0 : -1;
  for (int64_t row = 0; row < rows && found >= 0; row++) {
    int64_t count = list_units(token_ids + row * columns, word_starts + row * columns, columns,
                               first_ordinary_id, units);
    countable[row] = units[count].before;
    double budget = masked_lm_prob * countable[row];
    int64_t low = add_keys(priorities, count, share_limit, 1, keys), total = 0;
    for (int64_t key = 0; key < low; key++) total += length_of(units + (uint32_t)keys[key]);
    /* What follows a total that reaches budget or cap could not be taken anyhow. */
    if (total < budget && total < most_masked)
      low += add_keys(priorities, count, share_limit, 0, keys + low);
    sort_keys(keys, low);
    int64_t begin = 0;
    masked[row] = 0;
    for (int64_t key = 0; key < low && begin < budget; key++) {
      const Unit *unit = units + (uint32_t)keys[key];
      int32_t length = length_of(unit);
      double inside = budget - begin < length ? budget - begin : length;
      begin += length;
      if (begin > most_masked) break;
      if (!(coins[row] * length < inside)) continue;
      masked[row] += length;
      for (int32_t column = unit[0].begin; column < unit[1].begin; column++)
        slots[found++] = row * columns + column;
    }
    priorities += count;
  }
  free(units);
  free(keys);
  return found;
}

/* Says what is put into each slot, a chance of 64 bits for each: below `kept` [MASK], below
   `replaced` its own token, else the entry of the vocabulary that the low 32 bits draw.
   counts: gets how many show [MASK], and how many the original. */
void replace_tokens(const uint16_t *token_ids, const int64_t *slots, const uint64_t *chances,
                    int64_t count, uint64_t kept, uint64_t replaced, uint16_t mask_id,
                    uint16_t first_ordinary_id, uint64_t vocab_size, uint16_t *mask_ids,
                    int64_t *counts) {
  counts[0] = counts[1] = 0;
  for (int64_t place = 0; place < count; place++) {
    uint16_t original = token_ids[slots[place]];
    uint64_t chance = chances[place];
    if (original < first_ordinary_id) continue;
    uint64_t drawn = (chance & 0xFFFFFFFF) * (vocab_size - first_ordinary_id) >> 32;
    uint64_t visible = chance < kept ? mask_id : chance < replaced ? original
                                                                   : first_ordinary_id + drawn;
    mask_ids[slots[place]] = (uint16_t)(1 + visible);
    counts[0] += visible == mask_id;
    counts[1] += visible == original;
  }
}
