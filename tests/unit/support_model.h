/* support_model: what the tests of read models share: building one, asking it in one line.
 *
 * One thread. Everything fails the running test instead of returning an error, but what says so. */
#ifndef DAYBOOK_TESTS_UNIT_SUPPORT_MODEL_H
#define DAYBOOK_TESTS_UNIT_SUPPORT_MODEL_H

#include "projections/query.h"
#include "projections/runner.h"
#include "tests/unit/support.h"

#define TEST_STOP ((struct runner_policy){.set_aside = false, .attempts = 1})

/* Opens a table projection in dir/model. */
struct runner *test_runner(const struct test_dir *d, const struct model_kind *kind,
                           const char *source, const struct runner_policy *policy);
/* Steps until it is caught up, or faulted. */
void test_run(struct runner *r, struct store *s);
/* Why a source is refused. */
void test_expect_refused(const struct model_kind *kind, const char *source, const char *wanted);

/* What a query of the model in dir/model answers: "a|b\nc|d\n", NULL as "-". Or "error: …". Valid
 * until the next call. */
const char *test_query(const struct test_dir *d, const char *sql);
/* The same within limits. */
const char *test_query_within(const struct test_dir *d, const char *sql, uint64_t rows_max,
                              bool (*cancelled)(void *ctx), void *ctx);
/* The events that were set aside, as above. */
const char *test_errors(const struct test_dir *d);

/* Removes dir/model and dir. */
void test_model_dir_remove(struct test_dir *d);

#endif
