/* json_query: see json_query.h. The body has one shape and three levels, so that what may come next
 * follows from the depth and the last key. */
#include "server/json_query.h"

#include "server/json_int.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NUMBER_TEXT_MAX 400

enum place { AT_START, IN_BODY_OBJECT, AT_SQL, AT_PARAMS, IN_LIST, IN_NAMED, AT_END };

struct reader_state {
    struct json_query *q;
    struct arena *arena;
    enum place place;
    bool sql_seen, params_seen;
    struct bytes name; /* of the next named argument */
};

static int refuse(struct reader_state *r, const char *field, const char *detail)
{
    r->q->field = field;
    snprintf(r->q->detail, sizeof r->q->detail, "%s", detail);
    return 0;
}

static int refuse_here(struct reader_state *r)
{
    switch (r->place) {
    case AT_SQL:
        return refuse(r, "sql", "must be a string");
    case AT_PARAMS:
        return refuse(r, "params", "must be an array or an object");
    case IN_LIST:
    case IN_NAMED:
        return refuse(r, "params", "a value must be null, a boolean, a number or a string");
    case AT_START:
    case IN_BODY_OBJECT:
    case AT_END:
        break;
    }
    return refuse(r, NULL, "the body must be an object with \"sql\"");
}

static int add_argument(struct reader_state *r, struct sql_value value)
{
    struct json_query *q = r->q;
    if (r->place != IN_LIST && r->place != IN_NAMED) {
        return refuse_here(r);
    }
    if (q->argument_count == JSON_QUERY_ARGUMENTS_MAX) {
        return refuse(r, "params", "there are more than 1000");
    }
    if (q->arguments == NULL) {
        q->arguments = arena_alloc(r->arena, JSON_QUERY_ARGUMENTS_MAX * sizeof *q->arguments);
    }
    if (q->arguments == NULL) {
        return refuse(r, "params", "there is no memory for them");
    }
    q->arguments[q->argument_count++] = (struct query_argument){
        .name = r->place == IN_NAMED ? r->name : BYTES_NONE, .value = value};
    return 1;
}

/* ---- what yajl calls ---- */

static int on_null(void *ctx)
{
    struct reader_state *r = ctx;
    if (r->place == AT_PARAMS) {
        r->place = IN_BODY_OBJECT;
        return 1;
    }
    return add_argument(ctx, (struct sql_value){.kind = SQL_NULL});
}

static int on_boolean(void *ctx, int value)
{
    return add_argument(ctx, (struct sql_value){.kind = SQL_INTEGER, .integer = value});
}

/* Integers that SQLite can hold stay integers. */
static int on_number(void *ctx, const char *text, size_t n)
{
    char copy[NUMBER_TEXT_MAX];
    char *end;
    if (n >= sizeof copy) {
        return refuse(ctx, "params", "a number is too long");
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    errno = 0;
    int64_t integer = strtoll(copy, &end, 10);
    if (*end == '\0' && errno == 0) {
        return add_argument(ctx, (struct sql_value){.kind = SQL_INTEGER, .integer = integer});
    }
    return add_argument(ctx, (struct sql_value){.kind = SQL_REAL, .real = strtod(copy, NULL)});
}

static int on_string(void *ctx, const unsigned char *p, size_t n)
{
    struct reader_state *r = ctx;
    struct bytes copy;
    if (arena_copy(r->arena, bytes_of(p, n), &copy) != ERR_OK) {
        return refuse(r, NULL, "there is no memory for the body");
    }
    if (r->place == AT_SQL) {
        r->q->sql = copy;
        r->place = IN_BODY_OBJECT;
        return 1;
    }
    return add_argument(r, (struct sql_value){.kind = SQL_TEXT, .bytes = copy});
}

static int on_open_object(void *ctx)
{
    struct reader_state *r = ctx;
    if (r->place != AT_START && r->place != AT_PARAMS) {
        return refuse_here(r);
    }
    r->place = r->place == AT_START ? IN_BODY_OBJECT : IN_NAMED;
    return 1;
}

static int on_key(void *ctx, const unsigned char *p, size_t n)
{
    struct reader_state *r = ctx;
    struct bytes key = bytes_of(p, n);
    if (r->place == IN_NAMED) {
        return n == 0 ? refuse(r, "params", "a name is empty")
                      : arena_copy(r->arena, key, &r->name) == ERR_OK;
    }
    bool is_sql = bytes_equal(key, BYTES_LITERAL("sql"));
    if (!is_sql && !bytes_equal(key, BYTES_LITERAL("params"))) {
        return refuse(r, NULL, "a field is not known; there are \"sql\" and \"params\"");
    }
    bool *seen = is_sql ? &r->sql_seen : &r->params_seen;
    if (*seen) {
        return refuse(r, is_sql ? "sql" : "params", "is there twice");
    }
    *seen = true;
    r->place = is_sql ? AT_SQL : AT_PARAMS;
    return 1;
}

static int on_close_object(void *ctx)
{
    struct reader_state *r = ctx;
    r->place = r->place == IN_NAMED ? IN_BODY_OBJECT : AT_END;
    return 1;
}

static int on_open_array(void *ctx)
{
    struct reader_state *r = ctx;
    if (r->place != AT_PARAMS) {
        return refuse_here(r);
    }
    r->place = IN_LIST;
    return 1;
}

static int on_close_array(void *ctx)
{
    struct reader_state *r = ctx;
    r->place = IN_BODY_OBJECT;
    return 1;
}

static const yajl_callbacks reading = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_open_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_close_object,
    .yajl_start_array = on_open_array,
    .yajl_end_array = on_close_array,
};

bool json_query_read(struct bytes body, struct arena *arena, struct json_query *ret)
{
    *ret = (struct json_query){0};
    struct reader_state r = {.q = ret, .arena = arena};
    if (!bytes_are_utf8(body)) {
        ret->malformed = true;
        snprintf(ret->detail, sizeof ret->detail, "the body is not UTF-8");
        return false;
    }
    struct json_memory memory;
    yajl_handle h = json_parser_new(&memory, &reading, &r);
    yajl_status status = json_parse(h, body);
    if (status == yajl_status_error) {
        char detail[JSON_DETAIL_MAX];
        json_describe_error(h, body, detail);
        ret->malformed = true;
        snprintf(ret->detail, sizeof ret->detail, "%s", detail);
    }
    yajl_free(h);
    if (status != yajl_status_ok) {
        return false;
    }
    if (r.place == AT_START) {
        return refuse_here(&r) != 0;
    }
    return ret->sql.p != NULL || refuse(&r, "sql", "is required") != 0;
}

/* ---- writing ---- */

static void put_real(struct buf *b, double v)
{
    if (isinf(v)) { /* beyond what a number can hold, which readers round the same way */
        buf_put_string(b, v > 0 ? "9e999" : "-9e999");
        return;
    }
    char text[40];
    int precision = 15;
    do {
        snprintf(text, sizeof text, "%.*g", precision, v);
    } while (strtod(text, NULL) != v && ++precision <= 17);
    buf_put_string(b, text);
    if (strpbrk(text, ".eE") == NULL) {
        buf_put_string(b, ".0");
    }
}

static void put_base64(struct buf *b, struct bytes bytes)
{
    buf_put_byte(b, '"');
    buf_put_base64(b, bytes);
    buf_put_byte(b, '"');
}

void json_query_put_value(struct buf *b, const struct sql_value *value)
{
    switch (value->kind) {
    case SQL_NULL:
        buf_put_string(b, "null");
        break;
    case SQL_INTEGER:
        buf_put_format(b, "%" PRId64, value->integer);
        break;
    case SQL_REAL:
        put_real(b, value->real);
        break;
    case SQL_TEXT:
        if (bytes_are_utf8(value->bytes)) {
            buf_put_json_string(b, value->bytes);
            break;
        }
        put_base64(b, value->bytes);
        break;
    case SQL_BLOB:
        put_base64(b, value->bytes);
        break;
    }
}

static err_t put_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    struct json_rows *r = ctx;
    (void)position;
    r->count = n;
    memcpy(r->names, names, n * sizeof *names);
    if (!r->lines) {
        buf_put_string(r->b, "{\"columns\":[");
        for (unsigned i = 0; i < n; i++) {
            buf_put_string(r->b, i == 0 ? "" : ",");
            buf_put_json_string(r->b, bytes_of_string(names[i]));
        }
        buf_put_string(r->b, "],\"rows\":[");
    }
    return ERR_OK;
}

static err_t put_row(void *ctx, const struct sql_value *values, unsigned n)
{
    struct json_rows *r = ctx;
    buf_put_string(r->b, r->lines ? "{" : r->rows == 0 ? "[" : ",[");
    for (unsigned i = 0; i < n; i++) {
        buf_put_string(r->b, i == 0 ? "" : ",");
        if (r->lines) {
            buf_put_json_string(r->b, bytes_of_string(r->names[i]));
            buf_put_byte(r->b, ':');
        }
        json_query_put_value(r->b, &values[i]);
    }
    buf_put_string(r->b, r->lines ? "}\n" : "]");
    r->rows++;
    return buf_status(r->b) == ERR_OK ? ERR_OK : ERR_LIMIT;
}

struct query_sink json_rows_sink(struct json_rows *rows)
{
    return (struct query_sink){put_columns, put_row, rows};
}
