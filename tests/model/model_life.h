/* model_life: what of a stream can be read, in the model: lives and redactions as plain arrays that
 * are walked. */
#ifndef DAYBOOK_TESTS_MODEL_MODEL_LIFE_H
#define DAYBOOK_TESTS_MODEL_MODEL_LIFE_H

#include "tests/model/model.h"

/* The stream's life as of a position; zeroes: it has none. */
struct model_life model_life_at(const struct model *m, unsigned stream, uint64_t position);

/* The first revision that can be read in a view of `position` at a time; head + 1: none. */
uint64_t model_first(const struct model *m, unsigned stream, uint64_t position, int64_t time_us);

bool model_is_deleted(const struct model *m, unsigned stream, uint64_t position);

/* Whether the event cannot be read there. */
bool model_is_hidden(const struct model *m, uint64_t event, uint64_t position, int64_t time_us);

/* Decides a plan that is not an append, at m->last_time_us, and does it. */
void model_decide_life(struct model *m, struct plan *p);

#endif
