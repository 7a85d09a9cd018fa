/* rows: a query as JSON, and its answer out of JSON: parsed as it lies there, since it may be
 * large. */
#include "client_int.h"
#include "group_int.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

/* ---- the query ---- */

bool daybook_json_add_string(struct daybook_buffer *b, const void *text, size_t n)
{
    const uint8_t *p = text;
    bool ok = daybook_buffer_add_byte(b, '"');
    for (size_t i = 0; i < n && ok; i++) {
        char escaped[8] = {'\\', (char)p[i], '\0'};
        if (p[i] < 0x20) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", p[i]);
        }
        ok = p[i] < 0x20 || p[i] == '"' || p[i] == '\\' ? daybook_buffer_add_text(b, escaped)
                                                        : daybook_buffer_add_byte(b, p[i]);
    }
    return ok && daybook_buffer_add_byte(b, '"');
}

/* Whatever the locale's decimal point is. A real stays one. */
bool daybook_json_add_real(struct daybook_buffer *b, double real)
{
    char text[40];
    if (isinf(real)) {
        return daybook_buffer_add_text(b, real > 0 ? "9e999" : "-9e999");
    }
    (void)snprintf(text, sizeof text, "%.17g", real);
    const char *point = localeconv()->decimal_point;
    char *at = strstr(text, point);
    if (at != NULL) {
        *at = '.';
        (void)memmove(at + 1, at + strlen(point), strlen(at + strlen(point)) + 1);
    }
    return daybook_buffer_add_text(b, text) &&
           (strpbrk(text, ".e") != NULL || daybook_buffer_add_text(b, ".0"));
}

static bool add_value(struct daybook_buffer *b, const struct daybook_value *v)
{
    char text[24];
    switch (v->kind) {
    case DAYBOOK_NULL:
        return daybook_buffer_add_text(b, "null");
    case DAYBOOK_INTEGER:
        (void)snprintf(text, sizeof text, "%" PRId64, v->integer);
        return daybook_buffer_add_text(b, text);
    case DAYBOOK_REAL:
        return daybook_json_add_real(b, v->real);
    case DAYBOOK_TEXT:
        break;
    }
    return daybook_json_add_string(b, v->text.p, v->text.n);
}

static bool add_params(struct daybook_buffer *b, const struct daybook_query *q, bool named)
{
    bool ok = daybook_buffer_add_text(b, named ? ",\"params\":{" : ",\"params\":[");
    for (size_t i = 0; i < q->params_n && ok; i++) {
        const struct daybook_param *p = &q->params[i];
        ok = i == 0 || daybook_buffer_add_byte(b, ',');
        if (named) {
            ok = ok && daybook_json_add_string(b, p->name, strlen(p->name)) &&
                 daybook_buffer_add_byte(b, ':');
        }
        ok = ok && add_value(b, &p->value);
    }
    return ok && daybook_buffer_add_byte(b, named ? '}' : ']');
}

enum daybook_result daybook_json_query(struct daybook *db, const struct daybook_query *q)
{
    struct daybook_buffer *b = &db->request;
    bool named = q->params_n > 0 && q->params[0].name != NULL;
    if (q->sql == NULL) {
        return daybook_fail_argument(db, "there is no SQL");
    }
    for (size_t i = 0; i < q->params_n; i++) {
        const struct daybook_param *p = &q->params[i];
        if ((p->name != NULL) != named) {
            return daybook_fail_argument(db, "some parameters have a name and some have not");
        }
        if (p->value.kind == DAYBOOK_REAL && isnan(p->value.real)) {
            return daybook_fail_argument(db, "a parameter is no number");
        }
    }
    b->n = 0;
    bool ok = daybook_buffer_add_text(b, "{\"sql\":") &&
              daybook_json_add_string(b, q->sql, strlen(q->sql)) && add_params(b, q, named) &&
              daybook_buffer_add_byte(b, '}');
    return ok ? DAYBOOK_OK : daybook_fail_memory(db);
}

/* ---- the answer ---- */

/* Text, so that the locale has no say: the digits as they came, with the locale's point. */
void daybook_json_number(struct daybook_value *v)
{
    char text[64], *end;
    const char *point = localeconv()->decimal_point;
    size_t n = 0;
    for (size_t i = 0; i < v->text.n && n + strlen(point) < sizeof text - 1; i++) {
        char c = ((const char *)v->text.p)[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s", c == '.' ? (int)strlen(point) : 1,
                              c == '.' ? point : &c);
    }
    text[n] = '\0';
    errno = 0;
    v->integer = strtoll(text, &end, 10);
    v->kind = *end == '\0' && errno == 0 ? DAYBOOK_INTEGER : DAYBOOK_REAL;
    v->real = strtod(text, NULL);
}

enum place { AT_START, IN_ANSWER, AT_COLUMNS, IN_COLUMNS, AT_ROWS, IN_ROWS, IN_ROW, AT_POSITION };

struct answer {
    struct daybook *db;
    enum place place;
    const char **columns;
    size_t columns_n, columns_cap;
    size_t row_n; /* values of the row so far */
    size_t rows_n;
    uint64_t position;
    bool memory; /* there is none */
};

static int no_memory(struct answer *a)
{
    a->memory = true;
    return 0;
}

static int add_column(struct answer *a, const unsigned char *p, size_t n)
{
    if (a->columns_n == a->columns_cap) {
        size_t cap = a->columns_cap == 0 ? 16 : a->columns_cap * 2;
        const char **columns = daybook_arena_get(&a->db->arena, cap * sizeof *columns);
        if (columns == NULL) {
            return no_memory(a);
        }
        if (a->columns_n > 0) {
            memcpy(columns, a->columns, a->columns_n * sizeof *columns);
        }
        a->columns = columns;
        a->columns_cap = cap;
    }
    const char *copy = daybook_arena_copy(&a->db->arena, p, n);
    a->columns[a->columns_n++] = copy;
    return copy != NULL ? 1 : no_memory(a);
}

static int take_value(struct answer *a, struct daybook_value v)
{
    if (a->place != IN_ROW || a->row_n == a->columns_n) {
        return 0;
    }
    if (v.text.n > 0) {
        v.text.p = daybook_arena_copy(&a->db->arena, v.text.p, v.text.n);
    }
    if ((v.text.n > 0 && v.text.p == NULL) || !daybook_buffer_add(&a->db->values, &v, sizeof v)) {
        return no_memory(a);
    }
    a->row_n++;
    return 1;
}

static int on_null(void *ctx)
{
    return take_value(ctx, (struct daybook_value){.kind = DAYBOOK_NULL});
}

static int on_number(void *ctx, const char *p, size_t n)
{
    struct answer *a = ctx;
    struct daybook_value v = {.text = {p, n}};
    daybook_json_number(&v);
    if (a->place == AT_POSITION) {
        a->position = (uint64_t)v.integer;
        a->place = IN_ANSWER;
        return v.kind == DAYBOOK_INTEGER;
    }
    return take_value(a, v);
}

static int on_string(void *ctx, const unsigned char *p, size_t n)
{
    struct answer *a = ctx;
    if (a->place == IN_COLUMNS) {
        return add_column(a, p, n);
    }
    return take_value(a, (struct daybook_value){.kind = DAYBOOK_TEXT, .text = {p, n}});
}

static int on_open_object(void *ctx)
{
    struct answer *a = ctx;
    bool ok = a->place == AT_START;
    a->place = IN_ANSWER;
    return ok;
}

static int on_key(void *ctx, const unsigned char *p, size_t n)
{
    static const struct {
        const char *name;
        enum place place;
    } keys[] = {{"columns", AT_COLUMNS}, {"rows", AT_ROWS}, {"position", AT_POSITION}};
    struct answer *a = ctx;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (n == strlen(keys[i].name) && memcmp(p, keys[i].name, n) == 0) {
            a->place = keys[i].place;
            return 1;
        }
    }
    return 0;
}

static int on_open_array(void *ctx)
{
    struct answer *a = ctx;
    if (a->place == AT_COLUMNS || a->place == AT_ROWS) {
        a->place = a->place == AT_COLUMNS ? IN_COLUMNS : IN_ROWS;
        return 1;
    }
    bool ok = a->place == IN_ROWS;
    a->place = IN_ROW;
    a->row_n = 0;
    return ok;
}

static int on_close_array(void *ctx)
{
    struct answer *a = ctx;
    if (a->place != IN_ROW) {
        a->place = IN_ANSWER;
        return 1;
    }
    a->place = IN_ROWS;
    a->rows_n++;
    return a->row_n == a->columns_n;
}

static int on_close_object(void *ctx)
{
    return ((struct answer *)ctx)->place == IN_ANSWER;
}

enum daybook_result daybook_json_rows(struct daybook *db, struct daybook_rows *ret,
                                      uint64_t *ret_position)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close_object,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close_array,
    };
    struct answer a = {.db = db};
    db->values.n = 0;
    yajl_handle h = yajl_alloc(&callbacks, NULL, &a);
    if (h == NULL) {
        return daybook_fail_memory(db);
    }
    yajl_status status = yajl_parse(h, db->call.body.p, db->call.body.n);
    status = status == yajl_status_ok ? yajl_complete_parse(h) : status;
    yajl_free(h);
    if (a.memory) {
        return daybook_fail_memory(db);
    }
    if (status != yajl_status_ok || a.place != IN_ANSWER) {
        return daybook_fail_protocol(db, "it is not the answer to a query");
    }
    *ret = (struct daybook_rows){
        .columns = a.columns,
        .columns_n = a.columns_n,
        .values = (const struct daybook_value *)(const void *)db->values.p,
        .rows_n = a.rows_n,
    };
    *ret_position = a.position;
    return DAYBOOK_OK;
}
