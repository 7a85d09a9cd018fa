/* support_model: see support_model.h. */
#include "tests/unit/support_model.h"

#include <inttypes.h>
#include <stdio.h>

#define ANSWER_MAX ((size_t)4 << 20)

static struct buf answer;

struct runner *test_runner(const struct test_dir *d, const struct model_kind *kind,
                           const char *source, const struct runner_policy *policy)
{
    char path[TEST_PATH_MAX];
    struct model *m;
    struct runner *r;
    struct err_text et = {0};
    err_t err = model_open(kind, test_path(d, "model", path), bytes_of_string(source), &m, &et);
    if (err != ERR_OK) {
        fail_msg("model_open: %s: %s", err_name(err), et.text);
    }
    assert_int_equal(runner_new(m, policy, &r), ERR_OK);
    return r;
}

void test_run(struct runner *r, struct store *s)
{
    bool caught_up = false;
    for (;;) {
        struct runner_status status;
        runner_get_status(r, &status);
        if (caught_up || status.state == RUNNER_FAULTED) {
            return;
        }
        struct store_view *v;
        struct err_text et = {0};
        assert_int_equal(store_view_open(s, &v), ERR_OK);
        err_t err = runner_step(r, v, NULL, NULL, &caught_up, &et);
        store_view_close(v);
        if (err != ERR_OK) {
            fail_msg("runner_step: %s: %s", err_name(err), et.text);
        }
    }
}

void test_expect_refused(const struct model_kind *kind, const char *source, const char *wanted)
{
    struct model *m;
    struct err_text et = {0};
    err_t err = model_open(kind, NULL, bytes_of_string(source), &m, &et);
    if (err != ERR_INVALID) {
        fail_msg("not refused: %s", source);
    }
    if (strstr(et.text, wanted) == NULL) {
        fail_msg("'%s' is not in: %s", wanted, et.text);
    }
}

static err_t take_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

static void put_value(const struct sql_value *value)
{
    switch (value->kind) {
    case SQL_NULL:
        buf_put_string(&answer, "-");
        break;
    case SQL_INTEGER:
        buf_put_format(&answer, "%" PRId64, value->integer);
        break;
    case SQL_REAL:
        buf_put_format(&answer, "%g", value->real);
        break;
    case SQL_TEXT:
    case SQL_BLOB:
        buf_put(&answer, value->bytes);
        break;
    }
}

static err_t take_row(void *ctx, const struct sql_value *values, unsigned n)
{
    (void)ctx;
    for (unsigned i = 0; i < n; i++) {
        buf_put_string(&answer, i == 0 ? "" : "|");
        put_value(&values[i]);
    }
    buf_put_string(&answer, "\n");
    return buf_status(&answer);
}

static const struct query_sink SINK = {take_columns, take_row, NULL};

static struct reader *open_reader(const struct test_dir *d)
{
    char path[TEST_PATH_MAX];
    struct reader *r;
    struct err_text et = {0};
    err_t err = reader_open(test_path(d, "model", path), &r, &et);
    if (err != ERR_OK) {
        fail_msg("reader_open: %s: %s", err_name(err), et.text);
    }
    if (answer.max == 0) {
        buf_init(&answer, ANSWER_MAX);
    }
    buf_clear(&answer);
    return r;
}

static const char *finish(struct reader *r, err_t err, const struct err_text *et)
{
    reader_close(r);
    if (err != ERR_OK) {
        buf_clear(&answer);
        buf_put_format(&answer, "error: %s: %s", err_name(err), et->text);
    }
    buf_put_byte(&answer, '\0');
    assert_int_equal(buf_status(&answer), ERR_OK);
    return (const char *)answer.p;
}

const char *test_query_within(const struct test_dir *d, const char *sql, uint64_t rows_max,
                              bool (*cancelled)(void *ctx), void *ctx)
{
    struct reader *r = open_reader(d);
    struct err_text et = {0};
    uint64_t position;
    struct model_query query = {.sql = bytes_of_string(sql),
                                .rows_max = rows_max,
                                .bytes_max = ANSWER_MAX / 4,
                                .cancelled = cancelled,
                                .cancel_ctx = ctx};
    err_t err = reader_query(r, &query, &SINK, &position, &et);
    return finish(r, err, &et);
}

const char *test_query(const struct test_dir *d, const char *sql)
{
    return test_query_within(d, sql, UINT64_MAX, NULL, NULL);
}

const char *test_errors(const struct test_dir *d)
{
    struct reader *r = open_reader(d);
    struct err_text et = {0};
    uint64_t position;
    err_t err = reader_errors(r, 0, 1000, &SINK, &position, &et);
    return finish(r, err, &et);
}

void test_model_dir_remove(struct test_dir *d)
{
    char path[TEST_PATH_MAX];
    assert_int_equal(model_remove(test_path(d, "model", path)), ERR_OK);
    test_dir_remove(d);
}
