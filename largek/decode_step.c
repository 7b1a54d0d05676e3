/* What largek/decode.py does for every new token of a small Llama model, in one go and on one thread.

   torch needs some eighty kernels for a token of a model of three layers, and most of them take longer to start than to
   run. The layouts are those of the class `Compiled` in largek/compiled.py; all numbers are float32. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define WIDTH 16 /* columns of a panel of weights, and what rows are padded to */
#define ROWS 6   /* rows that are multiplied at once: as many sums as fit into the registers of AVX2 */
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

/* Scores of `n` keys, (size, room) with room a multiple of WIDTH; of the places behind the n-th some are written too. */
static void score(const float *q, const float *keys, int64_t size, int64_t room, int64_t n, float *out) {
    int64_t at = 0;
    for (; at + 2 * WIDTH <= room && at < n; at += 2 * WIDTH) {
        wide one = {0}, two = {0};
        for (int64_t d = 0; d < size; d++) {
            one += q[d] * *(const wide *)(keys + d * room + at);
            two += q[d] * *(const wide *)(keys + d * room + at + WIDTH);
        }
        *(wide *)(out + at) = one;
        *(wide *)(out + at + WIDTH) = two;
    }
    if (at < n) {
        wide one = {0};
        for (int64_t d = 0; d < size; d++) one += q[d] * *(const wide *)(keys + d * room + at);
        *(wide *)(out + at) = one;
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

   prompt_keys (layers, prompts, kv heads, size, prompt_room), prompt_values (layers, prompts, kv heads, prompt_room, size),
   keys (rows, layers, kv heads, size, room), values (rows, layers, kv heads, room, size), lengths of the prompts. The
   buffers hold rows x (2 hidden + mixed + 2 inner + inner) numbers and 2 (prompt_room + room + 2 WIDTH). */
void advance(const Model *m, int64_t rows, int64_t step, const int64_t *token, const int64_t *group, const int64_t *lengths,
             const float *prompt_keys, const float *prompt_values, int64_t prompts, int64_t prompt_room, float *keys,
             float *values, int64_t room, float *buffer, float *logits) {
    const int64_t hidden = m->hidden, size = m->size, kv = m->kv_heads, repeat = m->heads / kv;
    const int64_t queries = m->heads * size, per_layer = kv * size * room, per_prompt = kv * size * prompt_room;
    float *x = buffer, *y = x + rows * hidden, *mixed = y + rows * (queries > hidden ? queries : hidden);
    float *gate = mixed + rows * m->mixed, *inner = gate + rows * 2 * m->inner, *own_weight = inner + rows * m->inner;
    float *prompt_weight = own_weight + room + 2 * WIDTH;
    for (int64_t r = 0; r < rows; r++) memcpy(x + r * hidden, m->embed + token[r] * hidden, 4 * hidden);
    for (int64_t layer = 0; layer < m->layers; layer++) {
        normed(x, rows, hidden, m->eps, y);
        product(y, rows, hidden, m->qkv[layer], m->mixed, mixed, 0);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t seen = lengths[group[r]];
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
                float *own_keys = keys + (r * m->layers + layer) * per_layer + h * size * room;
                float *own_values = values + (r * m->layers + layer) * per_layer + h * size * room;
                const int64_t place = (layer * prompts + group[r]) * per_prompt + h * size * prompt_room;
                for (int64_t i = 0; i < size; i++) own_keys[i * room + step] = new_key[h * size + i];
                memcpy(own_values + step * size, new_value + h * size, 4 * size);
                for (int64_t q = h * repeat; q < (h + 1) * repeat; q++) {
                    float *out = y + r * queries + q * size, most = -3e38f, sum = 0;
                    score(row + q * size, prompt_keys + place, size, prompt_room, seen, prompt_weight);
                    score(row + q * size, own_keys, size, room, step + 1, own_weight);
                    for (int64_t p = 0; p < seen; p++) most = prompt_weight[p] > most ? prompt_weight[p] : most;
                    for (int64_t p = 0; p <= step; p++) most = own_weight[p] > most ? own_weight[p] : most;
                    for (int64_t p = 0; p < seen; p++) sum += prompt_weight[p] = exponential(prompt_weight[p] - most);
                    for (int64_t p = 0; p <= step; p++) sum += own_weight[p] = exponential(own_weight[p] - most);
                    memset(out, 0, 4 * size);
                    gather(prompt_weight, prompt_values + place, size, seen, out);
                    gather(own_weight, own_values, size, step + 1, out);
                    for (int64_t i = 0; i < size; i++) out[i] /= sum;
                }
            }
        }
        product(y, rows, queries, m->out[layer], hidden, x, 1);
        normed(x, rows, hidden, m->eps, y);
        product(y, rows, hidden, m->gate_up[layer], 2 * m->inner, gate, 0);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < m->inner; i++)
                inner[r * m->inner + i] = silu(gate[2 * r * m->inner + i]) * gate[(2 * r + 1) * m->inner + i];
        product(inner, rows, m->inner, m->down[layer], hidden, x, 1);
    }
    normed(x, rows, hidden, m->eps, y);
    product(y, rows, hidden, m->head, m->vocabulary, logits, 0);
}

/* Row source[i] goes on in the place target[i] too, which no row goes on from; the first `seen` places of its caches. */
void move(int64_t count, const int64_t *source, const int64_t *target, float *keys, float *values, int64_t heads, int64_t size,
          int64_t room, int64_t seen) {
    const int64_t row = heads * size * room;
    for (int64_t i = 0; i < count; i++) {
        const float *from_keys = keys + source[i] * row, *from_values = values + source[i] * row;
        float *to_keys = keys + target[i] * row, *to_values = values + target[i] * row;
        for (int64_t d = 0; d < heads * size; d++) memcpy(to_keys + d * room, from_keys + d * room, 4 * seen);
        for (int64_t h = 0; h < heads; h++)
            memcpy(to_values + h * size * room, from_values + h * size * room, 4 * size * seen);
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
