/* What largek/decode.py does for every new token of a small Llama model, in one go and on one thread.

   torch needs some eighty kernels for a token of a model of three layers, and most of them take longer to start than to
   run. The layouts are those of the class `Compiled` in largek/compiled.py; all numbers are float32. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define WIDTH 16 /* columns of a panel of weights, and what rows are padded to */
#define ROWS 6   /* rows that are multiplied at once: as many sums as fit into the registers of AVX2 */
#define TILE 48  /* rows that go through a layer together: with its weights they stay in the cache of a core */
typedef float wide __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef float half __attribute__((vector_size(2 * WIDTH), aligned(4)));
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    int64_t layers, heads, kv_heads, size, hidden, inner, vocabulary, mixed; /* the last two padded to WIDTH */
    float eps;
    const float *embed;                                           /* (tokens, hidden) */
    const float *const *qkv, *const *out, *const *gate_up, *const *down; /* a layer each, in panels */
    const float *head;                                            /* in panels */
    const float *turn;                                            /* (positions, size / 2, 2): cosine and sine */
} Model;

/* y = x w, or y += x w, of `n` rows and one panel: x (n, depth), w (depth, WIDTH), y (n, stride). */
INLINE void block(const int n, const float *x, int64_t depth, const float *w, float *y, int64_t stride, int onto) {
    wide sum[ROWS];
    for (int r = 0; r < n; r++) sum[r] = onto ? *(wide *)(y + r * stride) : (wide){0};
    for (int64_t i = 0; i < depth; i++) {
        wide v = *(const wide *)(w + i * WIDTH);
        for (int r = 0; r < n; r++) sum[r] += x[r * depth + i] * v;
    }
    for (int r = 0; r < n; r++) *(wide *)(y + r * stride) = sum[r];
}

static void product(const float *x, int64_t rows, int64_t depth, const float *w, int64_t made, float *y, int onto) {
    for (int64_t column = 0; column < made; column += WIDTH, w += depth * WIDTH)
        for (int64_t row = 0; row < rows; row += ROWS) {
            const float *from = x + row * depth;
            float *to = y + row * made + column;
            switch (rows - row) {
            case 1: block(1, from, depth, w, to, made, onto); break;
            case 2: block(2, from, depth, w, to, made, onto); break;
            case 3: block(3, from, depth, w, to, made, onto); break;
            case 4: block(4, from, depth, w, to, made, onto); break;
            case 5: block(5, from, depth, w, to, made, onto); break;
            default: block(ROWS, from, depth, w, to, made, onto);
            }
        }
}

/* exp to about one unit in the last place for x <= 0, as 2^n times a polynomial; below -87 it stays at its smallest. */
INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = floorf(x * 1.44269504f + 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts; the Cephes library's expf */
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return p * scale;
}

INLINE float silu(float x) { /* x / (1 + exp(-x)), by an exponential of what is not positive */
    float e = exponential(x < 0 ? x : -x);
    return x * (x < 0 ? e : 1.0f) / (1.0f + e);
}

static void normed(const float *x, int64_t rows, int64_t hidden, float eps, float *y) {
    for (int64_t r = 0; r < rows; r++, x += hidden, y += hidden) {
        float sum = 0;
        for (int64_t i = 0; i < hidden; i++) sum += x[i] * x[i];
        float scale = 1.0f / sqrtf(sum / hidden + eps);
        for (int64_t i = 0; i < hidden; i++) y[i] = x[i] * scale;
    }
}

/* Scores of `n` keys, which lie in blocks of WIDTH places, (size, WIDTH) each; the last block is written whole. */
static void score(const float *q, const float *keys, int64_t size, int64_t n, float *out) {
    for (int64_t at = 0; at < n; at += WIDTH, keys += size * WIDTH) {
        wide even = {0}, odd = {0};
        for (int64_t d = 0; d < size; d += 2) {
            even += q[d] * *(const wide *)(keys + d * WIDTH);
            odd += q[d + 1] * *(const wide *)(keys + (d + 1) * WIDTH);
        }
        *(wide *)(out + at) = even + odd;
    }
}

/* out += the sum of `n` values, (n, size), by their weights. */
static void gather(const float *weight, const float *values, int64_t size, int64_t n, float *out) {
    for (int64_t d = 0; d < size; d += WIDTH / 2) {
        half sum[4] = {*(half *)(out + d), {0}, {0}, {0}};
        int64_t p = 0;
        for (; p + 4 <= n; p += 4)
            for (int i = 0; i < 4; i++) sum[i] += weight[p + i] * *(const half *)(values + (p + i) * size + d);
        for (; p < n; p++) sum[0] += weight[p] * *(const half *)(values + p * size + d);
        *(half *)(out + d) = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

/* Logits, (rows, vocabulary), of what follows the new `token` of each row, which stands at place `step` of the row's answer.

   prompt_keys (layers, prompts, kv heads, prompt_room / WIDTH, size, WIDTH), prompt_values (layers, prompts, kv heads,
   prompt_room, size), keys (rows, layers, kv heads, room / WIDTH, size, WIDTH), values (rows, layers, kv heads, room, size); the
   `lengths` are those of the prompts. The
   buffer holds rows x hidden numbers, TILE x (hidden or heads x size, + mixed + 3 inner), prompt_room + room + 4 WIDTH. */
void advance(const Model *m, int64_t rows, int64_t step, const int64_t *token, const int64_t *group, const int64_t *lengths,
             const float *prompt_keys, const float *prompt_values, int64_t prompts, int64_t prompt_room, float *keys,
             float *values, int64_t room, float *buffer, float *logits) {
    const int64_t hidden = m->hidden, size = m->size, kv = m->kv_heads, repeat = m->heads / kv;
    const int64_t queries = m->heads * size, per_layer = kv * size * room, per_prompt = kv * size * prompt_room;
    float *all = buffer, *y = all + rows * hidden, *mixed = y + TILE * (queries > hidden ? queries : hidden);
    float *gate = mixed + TILE * m->mixed, *inner = gate + TILE * 2 * m->inner, *own_weight = inner + TILE * m->inner;
    float *prompt_weight = own_weight + room + 2 * WIDTH;
    for (int64_t r = 0; r < rows; r++) memcpy(all + r * hidden, m->embed + token[r] * hidden, 4 * hidden);
    for (int64_t layer = 0; layer < m->layers; layer++)
        for (int64_t first = 0; first < rows; first += TILE) {
            const int64_t count = rows - first < TILE ? rows - first : TILE;
            float *x = all + first * hidden;
            normed(x, count, hidden, m->eps, y);
            product(y, count, hidden, m->qkv[layer], m->mixed, mixed, 0);
            for (int64_t r = 0; r < count; r++) {
                const int64_t prompt = group[first + r], seen = lengths[prompt];
                const float *turn = m->turn + (seen + step) * size;
                float *row = mixed + r * m->mixed;
                for (int64_t h = 0; h < m->heads + kv; h++)
                    for (int64_t i = 0; i < size; i += 2) {
                        float *at = row + h * size + i, a = at[0], b = at[1];
                        at[0] = a * turn[i] - b * turn[i + 1];
                        at[1] = a * turn[i + 1] + b * turn[i];
                    }
                const float *new_key = row + queries, *new_value = new_key + kv * size;
                for (int64_t h = 0; h < kv; h++) {
                    const int64_t own = ((first + r) * m->layers + layer) * per_layer + h * size * room;
                    const int64_t shared = (layer * prompts + prompt) * per_prompt + h * size * prompt_room;
                    float *block = keys + own + step / WIDTH * WIDTH * size;
                    for (int64_t i = 0; i < size; i++) block[i * WIDTH + step % WIDTH] = new_key[h * size + i];
                    memcpy(values + own + step * size, new_value + h * size, 4 * size);
                    for (int64_t q = h * repeat; q < (h + 1) * repeat; q++) {
                        float *out = y + r * queries + q * size, most = -3e38f, sum = 0;
                        score(row + q * size, prompt_keys + shared, size, seen, prompt_weight);
                        score(row + q * size, keys + own, size, step + 1, own_weight);
                        for (int64_t p = 0; p < seen; p++) most = prompt_weight[p] > most ? prompt_weight[p] : most;
                        for (int64_t p = 0; p <= step; p++) most = own_weight[p] > most ? own_weight[p] : most;
                        for (int64_t p = 0; p < seen; p++)
                            sum += prompt_weight[p] = exponential(prompt_weight[p] - most);
                        for (int64_t p = 0; p <= step; p++) sum += own_weight[p] = exponential(own_weight[p] - most);
                        memset(out, 0, 4 * size);
                        gather(prompt_weight, prompt_values + shared, size, seen, out);
                        gather(own_weight, values + own, size, step + 1, out);
                        for (int64_t i = 0; i < size; i++) out[i] /= sum;
                    }
                }
            }
            product(y, count, queries, m->out[layer], hidden, x, 1);
            normed(x, count, hidden, m->eps, y);
            product(y, count, hidden, m->gate_up[layer], 2 * m->inner, gate, 0);
            for (int64_t r = 0; r < count; r++)
                for (int64_t i = 0; i < m->inner; i++)
                    inner[r * m->inner + i] = silu(gate[2 * r * m->inner + i]) * gate[(2 * r + 1) * m->inner + i];
            product(inner, count, m->inner, m->down[layer], hidden, x, 1);
        }
    for (int64_t first = 0; first < rows; first += TILE) {
        const int64_t count = rows - first < TILE ? rows - first : TILE;
        normed(all + first * hidden, count, hidden, m->eps, y);
        product(y, count, hidden, m->head, m->vocabulary, logits + first * m->vocabulary, 0);
    }
}

/* Row source[i] goes on in the place target[i] too, which no row goes on from; the first `seen` places of its caches. */
void move(int64_t count, const int64_t *source, const int64_t *target, float *keys, float *values, int64_t heads, int64_t size,
          int64_t room, int64_t seen) {
    const int64_t head = size * room, blocks = (seen + WIDTH - 1) / WIDTH * WIDTH;
    for (int64_t i = 0; i < count; i++)
        for (int64_t h = 0; h < heads; h++) {
            const int64_t from = (source[i] * heads + h) * head, to = (target[i] * heads + h) * head;
            memcpy(keys + to, keys + from, 4 * size * blocks);
            memcpy(values + to, values + from, 4 * size * seen);
        }
}

/* A token of each answer from the logits of its row, by a uniform number in [0, 1) each: its token, log-probability, and the
   entropy of the distribution in nats. logits is (rows, stride) and becomes the probabilities; facts holds 2 numbers a row. */
void draw(float *logits, int64_t rows, int64_t stride, int64_t vocabulary, const int64_t *row, int64_t answers,
          const float *uniform, float *facts, int64_t *token, float *logprob, float *entropy) {
    for (int64_t r = 0; r < rows; r++) {
        float *at = logits + r * stride, most = -3e38f, sum = 0, mean = 0;
        for (int64_t i = 0; i < vocabulary; i++) most = at[i] > most ? at[i] : most;
        for (int64_t i = 0; i < vocabulary; i++) {
            float below = at[i] - most;
            at[i] = exponential(below);
            sum += at[i];
            mean += at[i] * (below < -87.0f ? -87.0f : below);
        }
        for (int64_t i = 0; i < vocabulary; i++) at[i] /= sum;
        facts[2 * r] = logf(sum) - mean / sum;
    }
    for (int64_t a = 0; a < answers; a++) {
        const float *at = logits + row[a] * stride;
        float left = uniform[a], total = 0;
        for (int64_t i = 0; i < vocabulary; i++) total += at[i]; /* 1 to rounding */
        left *= total;
        int64_t i = 0;
        for (float reached = at[0]; reached <= left && i + 1 < vocabulary; reached += at[i]) i++;
        token[a] = i;
        logprob[a] = logf(at[i]);
        entropy[a] = facts[2 * row[a]];
    }
}
