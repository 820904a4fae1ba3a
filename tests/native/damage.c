/* Opens a student.bin again and again with a few bytes changed, and asks what opens: damage FILE TIMES SEED. Compiled
 * with the sanitizers, which end the program at the first access out of bounds. */
#include "edgerec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint32_t next(uint32_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

/* Ask whatever the shape allows. Every array has just the size that the header file says. */
static void ask(edgerec_engine *engine) {
    edgerec_shape shape;
    edgerec_workspace *own;
    enum { EVENTS = 7, K = 9 };
    edgerec_describe(engine, &shape);
    size_t need = edgerec_workspace_bytes(engine, EVENTS), k = shape.items < K ? (size_t)shape.items : K;
    if (!need || need > 1u << 28 || shape.items > 1 << 20) return;
    void *memory = aligned_alloc(64, need);
    int64_t history[EVENTS], kind[EVENTS] = {0}, item[K], *categorical = calloc((size_t)shape.categorical + 1, 8);
    float count[EVENTS], age[EVENTS], *numeric = calloc((size_t)shape.numeric, 4), utility[K], score[K];
    float *weights = calloc((size_t)shape.tasks, 4), *probability = malloc(k * (size_t)shape.tasks * 4);
    float *vector = malloc(k * (size_t)shape.dim * 4), *reason = malloc(k * EVENTS * 4);
    for (int l = 0; l < EVENTS; l++) {
        history[l] = next(8) ? next((uint32_t)shape.items) : shape.items - 1 + next(2);
        count[l] = 1.0f + (float)next(3);
        age[l] = (float)next(1000);
    }
    for (int t = 0; t < shape.tasks; t++) weights[t] = 1.0f - 0.5f * (float)next(4);
    edgerec_request request = {history, kind, count, age, age, EVENTS, categorical, numeric, weights, history, 3};
    if (!edgerec_workspace_open(engine, EVENTS, memory, need, &own)) {
        if (!edgerec_recommend(engine, own, &request, k, item, utility, probability, reason))
            edgerec_vectors(engine, item, k, vector);
        edgerec_score(engine, own, &request, history, k < EVENTS ? k : EVENTS, utility, probability, reason);
        edgerec_similar(engine, own, history[0], history, 3, k, item, score);
    }
    free(memory), free(categorical), free(numeric), free(weights), free(probability), free(vector), free(reason);
}

int main(int count, char **words) {
    if (count != 4) return 2;
    FILE *file = fopen(words[1], "rb");
    uint8_t *whole = malloc(1 << 24);
    size_t size = fread(whole, 1, 1 << 24, file), opened = 0, refused = 0;
    state = strtoull(words[3], NULL, 10);
    for (long i = 0, times = strtol(words[2], NULL, 10); i < times; i++) {
        size_t left = next(16) ? size : next((uint32_t)size), need;
        uint8_t *copy = aligned_alloc(64, (left + 63) / 64 * 64 + 64);
        memcpy(copy, whole, left);
        for (uint32_t changes = next(4); left && changes; changes--) {
            size_t at = next(3) ? next(2) ? next((uint32_t)left) : next(2000) % left : next(128) % left;
            static const uint8_t bytes[] = {0, 1, 2, 63, 64, 127, 128, 255};
            copy[at] = next(2) ? (uint8_t)next(256) : next(2) ? bytes[next(8)] : (uint8_t)(copy[at] ^ 1 << next(8));
        }
        edgerec_engine *engine;
        if (!edgerec_measure(copy, left, &need) && need < 1u << 28) {
            void *arena = aligned_alloc(64, need);
            if (!edgerec_open(copy, left, arena, need, &engine)) opened++, ask(engine);
            free(arena);
        } else
            refused++;
        free(copy);
    }
    free(whole), fclose(file);
    printf("%zu opened, %zu refused\n", opened, refused);
    return 0;
}
