/* SQL of strangers: the input is a table projection's script, or, with another first byte, one
 * query of a small table. A script that is accepted takes two events. Nothing may crash, take more
 * memory than its budget, or touch what is ours; whatever is refused must say why.
 *
 * What may run long ends by being asked: after some thousand steps here, which says nothing about
 * how long a server lets it run. */
#include "projections/query.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TIME_US   1700000000000000
#define ROWS_MAX  200
#define BYTES_MAX (1u << 20)
#define ASKED_MAX 20

static const char TABLE[] = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n REAL, b BLOB);\n"
                            "CREATE INDEX by_name ON t (name);\n"
                            "-- @on *\n"
                            "INSERT INTO t VALUES (:position, :stream, 1.5, x'00ff'),\n"
                            "  (:position + 100, :data ->> 'a', NULL, :id);\n";

static unsigned asked;

static bool cancelled(void *ctx)
{
    (void)ctx;
    return ++asked > ASKED_MAX;
}

static void expect_why(err_t err, const struct err_text *et)
{
    CHECK(err == ERR_OK || err == ERR_MEMORY || et->text[0] != '\0' || err == ERR_CLOSED);
    CHECK(bytes_are_utf8(bytes_of_string(et->text)));
}

static struct event an_event(uint64_t position)
{
    return (struct event){
        .position = position,
        .revision = position,
        .time_us = TIME_US + (int64_t)position,
        .stream = BYTES_LITERAL("s-1"),
        .id = BYTES_LITERAL("0123456789abcdef"),
        .type = position % 2 == 1 ? BYTES_LITERAL("A") : BYTES_LITERAL("B"),
        .data = BYTES_LITERAL("{\"a\":\"x\",\"n\":[1,2,{\"m\":1.10}]}"),
        .metadata = BYTES_LITERAL("{\"user\":\"7\"}"),
    };
}

/* The checkpoint moves with the events that were taken, and only with them. */
static void feed(struct model *m)
{
    for (uint64_t position = 1; position <= 2; position++) {
        struct err_text et = {0};
        struct event e = an_event(position);
        uint64_t before = model_checkpoint(m);
        err_t err = model_begin(m, &et);
        CHECK(err == ERR_OK);
        err = model_apply(m, &e, &et);
        if (err == ERR_OK) {
            err = model_commit(m, position, &et);
        } else {
            model_abort(m);
        }
        expect_why(err, &et);
        CHECK(model_checkpoint(m) == (err == ERR_OK ? position : before));
    }
}

static struct model *open_model(struct bytes source)
{
    struct err_text et = {0};
    struct model *m = NULL;
    err_t err = model_open(&model_table, NULL, source, &m, &et);
    expect_why(err, &et);
    CHECK((err == ERR_OK) == (m != NULL));
    if (m != NULL) {
        model_set_cancel(m, cancelled, NULL);
    }
    return m;
}

static err_t take_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    CHECK(position == 2);
    for (unsigned i = 0; i < n; i++) {
        CHECK(names[i] != NULL);
    }
    *(unsigned *)ctx = n;
    return ERR_OK;
}

/* Reads every byte of each value. */
static err_t take_row(void *ctx, const struct sql_value *values, unsigned n)
{
    CHECK(*(unsigned *)ctx == n);
    for (unsigned i = 0; i < n; i++) {
        bool has_bytes = values[i].kind == SQL_TEXT || values[i].kind == SQL_BLOB;
        CHECK(!has_bytes || bytes_hash(values[i].bytes, i) != 1);
    }
    return ERR_OK;
}

static void ask(struct model *m, struct bytes sql)
{
    struct err_text et = {0};
    struct reader *r;
    unsigned columns = 0;
    uint64_t position = 0;
    CHECK(reader_of_model(m, &r, &et) == ERR_OK);
    const struct query_argument arguments[] = {
        {.name = BYTES_LITERAL("a"), .value = {.kind = SQL_TEXT, .bytes = BYTES_LITERAL("s-1")}},
        {.value = {.kind = SQL_INTEGER, .integer = 2}},
    };
    const struct model_query query = {.sql = sql,
                                      .arguments = arguments,
                                      .argument_count = sql.n % 3,
                                      .rows_max = ROWS_MAX,
                                      .bytes_max = BYTES_MAX,
                                      .cancelled = cancelled};
    const struct query_sink sink = {take_columns, take_row, &columns};
    expect_why(reader_query(r, &query, &sink, &position, &et), &et);
    reader_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool is_query = data[0] == 'q';
    struct bytes text = is_query ? bytes_of(data + 1, size - 1) : bytes_of(data, size);
    asked = 0;
    struct model *m = open_model(is_query ? bytes_of_string(TABLE) : text);
    CHECK(!is_query || m != NULL);
    if (m != NULL) {
        feed(m);
        if (is_query) {
            asked = 0;
            ask(m, text);
        }
        model_close(m);
    }
    return 0;
}
