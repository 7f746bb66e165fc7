/* Chinese text -> words, as jieba cuts it: the most probable words of its dictionary, and by its
   hidden Markov model what these leave as single characters. segmentation.py names the sources. */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* --- The dictionary, as a tree of the letters of its words --- */

enum { NO_WORD = 0xFFFF, ROOT = 0, FIRST_CODES = 0x10000, CODE_BITS = 21 };

typedef struct {
  uint32_t node;   /* what it leads to; 0 for no edge */
  uint16_t weight; /* of the word that ends there, or NO_WORD */
  uint16_t inner;  /* whether edges leave that node */
} Edge;

typedef struct {
  uint64_t key; /* node and code that it leaves by, and 1; 0 for none */
  Edge edge;
} Slot;

typedef struct {
  Edge *first; /* edges of the root, by code below FIRST_CODES */
  Slot *slots; /* all other edges, hashed */
  uint64_t mask;
} Tree;

static Slot *find_slot(const Tree *tree, uint32_t node, uint32_t code) {
  uint64_t key = ((uint64_t)node << CODE_BITS | code) + 1;
  uint64_t slot = (key * 0x9E3779B97F4A7C15u) >> 32 & tree->mask;
  while (tree->slots[slot].key && tree->slots[slot].key != key) slot = (slot + 1) & tree->mask;
  return tree->slots + slot;
}

static Edge first_edge(const Tree *tree, uint32_t code) {
  return code < FIRST_CODES ? tree->first[code] : find_slot(tree, ROOT, code)->edge;
}

static Edge next_edge(const Tree *tree, uint32_t node, uint32_t code) {
  return find_slot(tree, node, code)->edge;
}

/* Finds the words and frequencies in the lines `word frequency tag` of a dictionary.

   Returns how many there are, or -1 - line if a line, counted from 0, is not of this form. */
int64_t parse_dictionary(const uint32_t *codes, int64_t count, int64_t *begins, int64_t *lengths,
                         int64_t *frequencies) {
  int64_t words = 0;
  for (int64_t at = 0; at < count; at++, words++) {
    begins[words] = at;
    while (at < count && codes[at] != ' ' && codes[at] != '\n') at++;
    lengths[words] = at - begins[words];
    frequencies[words] = 0;
    for (at++; at < count && codes[at] >= '0' && codes[at] <= '9'; at++)
      frequencies[words] = frequencies[words] * 10 + codes[at] - '0';
    if (!lengths[words] || !frequencies[words]) return -1 - words;
    while (at < count && codes[at] != '\n') at++;
  }
  return words;
}

/* Puts words into an empty tree that has more slots than they have characters.

   first, slots: FIRST_CODES edges, and the slots, all 0. */
void build_tree(const uint32_t *codes, const int64_t *begins, const int64_t *lengths,
                const uint16_t *weights, int64_t words, uint64_t *first, uint64_t *slots,
                uint64_t mask) {
  Tree tree = {(Edge *)first, (Slot *)slots, mask};
  uint32_t nodes = 1;
  for (int64_t word = 0; word < words; word++) {
    Edge *before = NULL;
    for (int64_t place = 0; place < lengths[word]; place++) {
      uint32_t code = codes[begins[word] + place], node = before ? before->node : ROOT;
      Edge *edge = &tree.first[code];
      if (before || code >= FIRST_CODES) {
        Slot *slot = find_slot(&tree, node, code);
        slot->key = ((uint64_t)node << CODE_BITS | code) + 1;
        edge = &slot->edge;
      }
      if (!edge->node) *edge = (Edge){nodes++, NO_WORD, 0};
      if (before) before->inner = 1;
      before = edge;
    }
    before->weight = weights[word];
  }
}

/* --- Classes of characters --- */

static bool is_alphanumeric(uint32_t code) {
  return (code >= '0' && code <= '9') || ((code | 0x20) >= 'a' && (code | 0x20) <= 'z');
}

static bool is_connector(uint32_t code) { return code == '.' || code == '_' || code == '-'; }

/* Characters that the dictionary is asked about. */
static bool is_in_block(uint32_t code) {
  if (code >= 0x4E00 && code <= 0x9FFF) return true;
  if (code < 0x80)
    return is_alphanumeric(code) || is_connector(code) || code == '+' || code == '#' ||
           code == '&' || code == '%';
  return (code >= 0x3400 && code <= 0x4DBF) || (code >= 0xF900 && code <= 0xFAFF) ||
         (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B73F) ||
         (code >= 0x2B740 && code <= 0x2EBEF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

enum { FIRST_HAN = 0x4E00, LAST_HAN = 0x9FD5 };

/* Characters that the hidden Markov model knows. */
static bool is_han(uint32_t code) { return code >= FIRST_HAN && code <= LAST_HAN; }

/* --- The hidden Markov model --- */

enum { BEGIN, END, MIDDLE, SINGLE, STATES };

typedef struct {
  const double *initial;     /* logarithms of probabilities, by state */
  const double *transitions; /* by the state before and the state */
  const double *emissions;   /* by code from FIRST_HAN on and the state */
} Model;

typedef struct {
  int32_t *lengths; /* of the words found */
  int64_t words;
} Output;

static void put_word(Output *output, int64_t length) {
  output->lengths[output->words++] = (int32_t)length;
}

static const uint8_t MAY_COME_BEFORE[STATES][2] = {
    {END, SINGLE}, {BEGIN, MIDDLE}, {BEGIN, MIDDLE}, {END, SINGLE}};

/* Cuts Chinese characters by the most probable states; `before` has room for all of them. Of equal
   probabilities that of the later state counts. */
static void cut_by_model(const Model *model, const uint32_t *codes, int64_t count,
                         uint8_t (*before)[STATES], Output *output) {
  double chances[STATES];
  const double *emitted = model->emissions + (codes[0] - FIRST_HAN) * STATES;
  for (int state = 0; state < STATES; state++)
    chances[state] = model->initial[state] + emitted[state];
  for (int64_t at = 1; at < count; at++) {
    double next[STATES];
    emitted = model->emissions + (codes[at] - FIRST_HAN) * STATES;
    for (int state = 0; state < STATES; state++) {
      const uint8_t *from = MAY_COME_BEFORE[state];
      double first =
          chances[from[0]] + model->transitions[from[0] * STATES + state] + emitted[state];
      double second =
          chances[from[1]] + model->transitions[from[1] * STATES + state] + emitted[state];
      before[at][state] = second >= first ? from[1] : from[0];
      next[state] = second >= first ? second : first;
    }
    for (int state = 0; state < STATES; state++) chances[state] = next[state];
  }
  uint8_t state = chances[SINGLE] >= chances[END] ? SINGLE : END;
  /* The states in `before[..][0]`, from the last on. */
  for (int64_t at = count - 1; at >= 0; at--) {
    uint8_t of_this = state;
    if (at > 0) state = before[at][state];
    before[at][0] = of_this;
  }
  int64_t begin = 0;
  for (int64_t at = 0; at < count; at++) {
    if (before[at][0] == END || before[at][0] == SINGLE) {
      put_word(output, at + 1 - begin);
      begin = at + 1;
    }
  }
}

/* Cuts what is no Chinese: letters and digits with connectors between them, and what is between. */
static void cut_others(const uint32_t *codes, int64_t count, Output *output) {
  for (int64_t at = 0; at < count;) {
    int64_t begin = at;
    while (at < count && !is_alphanumeric(codes[at])) at++;
    if (at > begin) {
      put_word(output, at - begin);
      continue;
    }
    while (at < count && is_alphanumeric(codes[at])) {
      at++;
      if (at + 1 < count && is_connector(codes[at]) && is_alphanumeric(codes[at + 1])) at++;
    }
    at += at < count && codes[at] == '%';
    put_word(output, at - begin);
  }
}

/* --- Words of the dictionary --- */

typedef struct {
  Tree tree;
  const double *weights; /* logarithms of the probabilities of words */
  double unknown;        /* that of a character that is in none */
  Model model;
  double *chances; /* of the best words from each character on, and behind the last */
  int32_t *ends;   /* of the first of these words */
  uint8_t (*states)[STATES];
} Segmenter;

/* Finds the most probable words of a block, from its end to its beginning; of equally probable
   ones the longest. */
static void find_words(const Segmenter *segmenter, const uint32_t *codes, int64_t count) {
  enum { AHEAD = 6 };
  const Tree *tree = &segmenter->tree;
  double *chances = segmenter->chances;
  chances[count] = 0;
  for (int64_t at = count - 1; at >= 0; at--) {
    if (at >= AHEAD && codes[at - AHEAD] < FIRST_CODES) {
      /* The tree is larger than a processor's cache. */
      uint64_t key = ((uint64_t)tree->first[codes[at - AHEAD]].node << CODE_BITS |
                      codes[at - AHEAD + 1]) + 1;
      __builtin_prefetch(tree->slots + ((key * 0x9E3779B97F4A7C15u) >> 32 & tree->mask));
    }
    double best = -INFINITY;
    int64_t best_end = 0;
    Edge edge = first_edge(tree, codes[at]);
    for (int64_t end = at + 1; edge.node; end++) {
      if (edge.weight != NO_WORD) {
        double chance = segmenter->weights[edge.weight] + chances[end];
        if (chance >= best) {
          best = chance;
          best_end = end;
        }
      }
      if (!edge.inner || end == count) break;
      edge = next_edge(tree, edge.node, codes[end]);
    }
    segmenter->ends[at] = (int32_t)(best_end ? best_end : at + 1);
    chances[at] = best_end ? best : segmenter->unknown + chances[at + 1];
  }
}

static bool is_word(const Tree *tree, const uint32_t *codes, int64_t count) {
  Edge edge = first_edge(tree, codes[0]);
  for (int64_t at = 1; at < count && edge.node; at++) {
    if (!edge.inner) return false;
    edge = next_edge(tree, edge.node, codes[at]);
  }
  return edge.node && edge.weight != NO_WORD;
}

/* Cuts single characters that follow each other. */
static void cut_singles(const Segmenter *segmenter, const uint32_t *codes, int64_t count,
                        Output *output) {
  if (count == 1 || is_word(&segmenter->tree, codes, count)) {
    for (int64_t at = 0; at < count; at++) put_word(output, 1);
    return;
  }
  for (int64_t at = 0, begin = 0; at < count; begin = at) {
    bool han = is_han(codes[at]);
    while (at < count && is_han(codes[at]) == han) at++;
    if (!han)
      cut_others(codes + begin, at - begin, output);
    else
      cut_by_model(&segmenter->model, codes + begin, at - begin, segmenter->states, output);
  }
}

static void cut_block(const Segmenter *segmenter, const uint32_t *codes, int64_t count,
                      Output *output) {
  find_words(segmenter, codes, count);
  int64_t singles = 0; /* where those begin that have not been cut */
  for (int64_t at = 0; at < count;) {
    int64_t end = segmenter->ends[at];
    if (end > at + 1) {
      if (singles < at) cut_singles(segmenter, codes + singles, at - singles, output);
      put_word(output, end - at);
      singles = end;
    }
    at = end;
  }
  if (singles < count) cut_singles(segmenter, codes + singles, count - singles, output);
}

static void cut_text(const Segmenter *segmenter, const uint32_t *codes, int64_t count,
                     Output *output) {
  for (int64_t at = 0; at < count;) {
    int64_t begin = at;
    while (at < count && is_in_block(codes[at])) at++;
    if (at > begin) {
      cut_block(segmenter, codes + begin, at - begin, output);
    } else {
      at += at + 1 < count && codes[at] == '\r' && codes[at + 1] == '\n' ? 2 : 1;
      put_word(output, at - begin);
    }
  }
}

/* Cuts texts into words, the character behind each text a word of its own.

   codes: the texts, a character behind each.
   ends: where each text ends.
   lengths: gets the characters of each word.

   Returns the number of words, or -1 without memory. */
int64_t cut_texts(const uint32_t *codes, const int64_t *ends, int64_t texts, uint64_t *first,
                  uint64_t *slots, uint64_t mask, const double *weights, double unknown,
                  const double *initial, const double *transitions, const double *emissions,
                  int32_t *lengths) {
  int64_t longest = 0;
  for (int64_t text = 0, begin = 0; text < texts; begin = ends[text++] + 1)
    if (ends[text] - begin > longest) longest = ends[text] - begin;
  Segmenter segmenter = {
      {(Edge *)first, (Slot *)slots, mask},        weights, unknown,
      {initial, transitions, emissions},           malloc((longest + 1) * sizeof(double)),
      malloc((longest + 1) * sizeof(int32_t)),     malloc((longest + 1) * STATES),
  };
  Output output = {lengths, 0};
  bool has_room = segmenter.chances && segmenter.ends && segmenter.states;
  for (int64_t text = 0, begin = 0; text < texts && has_room; begin = ends[text++] + 1) {
    cut_text(&segmenter, codes + begin, ends[text] - begin, &output);
    put_word(&output, 1);
  }
  free(segmenter.chances);
  free(segmenter.ends);
  free(segmenter.states);
  return has_room ? output.words : -1;
}
