/* plan: random commands for the model test, as plans of the model and as commands of the store.
 *
 * One thread. What is wrong fails the running test. */
#ifndef DAYBOOK_TESTS_MODEL_PLAN_H
#define DAYBOOK_TESTS_MODEL_PLAN_H

#include "tests/model/model.h"

#define PLANS_KEPT 32

struct plan_maker {
    uint64_t random;           /* state of test_random */
    const struct model *model; /* what the plans are made for */
    uint64_t next_id;
    uint32_t next_data;
    struct plan plans[PLANS_KEPT]; /* made before, to be sent again */
    size_t plan_count;
};

/* A new plan or one that was made before. */
void plan_next(struct plan_maker *m, struct plan *p);
/* The same as a command; the caller frees it. */
struct command *plan_command(const struct plan *p);
/* Compares the store's verdict on it with the model's. */
void plan_compare(const struct plan *p, const struct command *c);

#endif
