/* Code points -> ids of a vocabulary, in one pass; pieces.py says what the numbers mean. */

#include <stdbool.h>
#include <stdint.h>

enum { SPACE = -1, DROP = -2, FIRST_LETTER = -8, MOST_LETTERS = 200, NO_ID = -1 };

/* The pieces as a tree of their letters. Its edges are in a hash table, by the node that they leave
   and their letter; both are 0 for none of them, so that such a slot is empty. */
typedef struct {
  const uint64_t *keys;
  const int32_t *children;
  const int32_t *ids; /* of the piece that ends at each node */
  uint64_t mask;      /* slots less one; these are a power of two */
} Tree;

enum { FIRST_NODE = 0, OTHER_NODE = 1 }; /* roots of pieces that begin a word, and of others */

static uint64_t key_of(int64_t node, int64_t letter) { return (uint64_t)node << 32 | letter; }

static uint64_t slot_of(uint64_t key, const uint64_t *keys, uint64_t mask) {
  uint64_t slot = (key * 0x9E3779B97F4A7C15u) >> 32 & mask;
  while (keys[slot] && keys[slot] != key) slot = (slot + 1) & mask;
  return slot;
}

/* Puts edges into an empty table of more slots than there are edges. */
void add_edges(const int64_t *nodes, const int64_t *letters, const int32_t *to, int64_t count,
               uint64_t *keys, int32_t *children, uint64_t mask) {
  for (int64_t edge = 0; edge < count; edge++) {
    uint64_t key = key_of(nodes[edge], letters[edge]), slot = slot_of(key, keys, mask);
    keys[slot] = key;
    children[slot] = to[edge];
  }
}

/* Returns the length of the longest piece that begins at letters[0]; 0 if there is none. */
static int64_t longest_piece(const Tree *tree, int64_t node, const int32_t *letters, int64_t count,
                             int32_t *id) {
  int64_t length = 0;
  for (int64_t place = 0; place < count; place++) {
    uint64_t key = key_of(node, letters[place]), slot = slot_of(key, tree->keys, tree->mask);
    if (!tree->keys[slot]) break;
    node = tree->children[slot];
    if (tree->ids[node] != NO_ID) {
      *id = tree->ids[node];
      length = place + 1;
    }
  }
  return length;
}

/* Cuts a word into pieces, longest first; it is one [UNK] if that does not come out even.
   Returns the number of tokens; `begins` gets the letter at which each begins. */
static int64_t cut_word(const Tree *tree, const int32_t *letters, int64_t count,
                        int32_t unknown_id, int32_t *ids, int64_t *begins) {
  int64_t pieces = 0, begin = 0;
  while (begin < count && count <= MOST_LETTERS) {
    int64_t length = longest_piece(tree, begin ? OTHER_NODE : FIRST_NODE, letters + begin,
                                   count - begin, ids + pieces);
    if (!length) break;
    begins[pieces++] = begin;
    begin += length;
  }
  if (begin == count) return pieces;
  ids[0] = unknown_id;
  begins[0] = 0;
  return 1;
}

/* Clears the flags of tokens between which and the one before no word begins. */
static void keep_word_starts(const int64_t *positions, int64_t count, const int32_t *word_lengths,
                             int64_t words, bool *word_starts) {
  int64_t begun = 0, next_word = 0, last = words - 1;
  for (int64_t token = 0; token < count; token++) {
    /* One word at most begins at nearly all tokens; at which, no processor can foretell. */
    int32_t begins = next_word <= positions[token];
    next_word += word_lengths[begun < last ? begun : last] & -begins;
    begun += begins;
    while (next_word <= positions[token] && begun < words) next_word += word_lengths[begun++];
    word_starts[token] &= begins | (token == 0);
  }
}

/* Tokenizes `count` code points.

   kinds: what each code point is: the id of a token, or one of the numbers above.
   positions: the character that each comes from, not descending.
   word_lengths: characters of each of `words` words, in order; their sum is that of all.
   ids, token_positions, word_starts: get the tokens.
   counts: gets how many code points are white space, how many are dropped, and how many characters
     are under [UNK].

   Returns the number of tokens, or -1 - i if code point i is none of these. */
int64_t tokenize(const uint32_t *codes, const int32_t *kinds, const int64_t *positions,
                 int64_t count, const int32_t *word_lengths, int64_t words, const uint64_t *keys,
                 const int32_t *children, const int32_t *piece_ids, uint64_t mask,
                 int32_t unknown_id, int32_t *ids, int64_t *token_positions, bool *word_starts,
                 int64_t *counts) {
  Tree tree = {keys, children, piece_ids, mask};
  int32_t letters[MOST_LETTERS];
  int64_t places[MOST_LETTERS], begins[MOST_LETTERS], tokens = 0, spaces = 0, dropped = 0,
                                                      unknown = 0;
  for (int64_t at = 0; at < count;) {
    int32_t kind = kinds[codes[at]];
    if (kind >= 0) {
      ids[tokens] = kind;
      token_positions[tokens] = positions[at++];
      word_starts[tokens++] = true;
      unknown += kind == unknown_id;
    } else if (kind == SPACE) {
      spaces++;
      at++;
    } else if (kind == DROP) {
      dropped++;
      at++;
    } else if (kind <= FIRST_LETTER) {
      int64_t length = 0, chars = 0, last = -1;
      for (; at < count && ((kind = kinds[codes[at]]) <= FIRST_LETTER || kind == DROP); at++) {
        if (kind == DROP) {
          dropped++;
          continue;
        }
        if (length < MOST_LETTERS) {
          letters[length] = FIRST_LETTER - kind;
          places[length] = positions[at];
        }
        length++;
        chars += positions[at] != last;
        last = positions[at];
      }
      int64_t pieces = cut_word(&tree, letters, length, unknown_id, ids + tokens, begins);
      if (ids[tokens] == unknown_id) unknown += chars;
      for (int64_t piece = 0; piece < pieces; piece++, tokens++) {
        token_positions[tokens] = places[begins[piece]];
        word_starts[tokens] = piece == 0;
      }
    } else {
      return -1 - at;
    }
  }
  if (words > 0) keep_word_starts(token_positions, tokens, word_lengths, words, word_starts);
  counts[0] = spaces;
  counts[1] = dropped;
  counts[2] = unknown;
  return tokens;
}
