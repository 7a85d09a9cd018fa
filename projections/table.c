/* table: table projections: a script of SQL whose blocks run for each event, prepared once.
 *
 * What a statement may use of an event are its parameters, listed below. 'now' is the time of the
 * event: a script sees no clock and nothing random, so that a rebuild gives the same tables. */
#include <stdlib.h>

#include "model.h"
#include "sql.h"
#include "storage/base/map.h"
#include "storage/base/timestamp.h"
#include "table_script.h"

#define BATCH_EVENTS   20000
#define STATEMENTS_MAX 1024
/* Steps of SQLite's virtual machine for all statements of one event, and for the schema: some
 * tenths of a second. */
#define EVENT_STEPS_MAX  UINT64_C(10000000)
#define SCHEMA_STEPS_MAX UINT64_C(10000000)

/* What of an event a statement may ask for. */
enum field {
    FIELD_STREAM,
    FIELD_ENTITY,
    FIELD_CATEGORY,
    FIELD_TYPE,
    FIELD_REVISION,
    FIELD_POSITION,
    FIELD_TIME,
    FIELD_OCCURRED_AT,
    FIELD_ID,
    FIELD_DATA,
    FIELD_METADATA,
    FIELD_COUNT
};

static const char *const FIELDS[FIELD_COUNT] = {
    ":stream", ":entity",      ":category", ":type", ":revision", ":position",
    ":time",   ":occurred_at", ":id",       ":data", ":metadata",
};

struct statement {
    struct sql_statement *sql;
    unsigned line;
    unsigned parameter_count;
    enum field parameters[FIELD_COUNT]; /* of parameter i + 1 */
};

/* The statements that run for one type: indexes into `statements`, in the script's order. */
struct handler {
    struct bytes type;
    size_t *statements, count;
};

struct table {
    struct script script;
    struct statement *statements;
    size_t statement_count;
    struct handler *handlers; /* one a type; the last is for all others */
    size_t handler_count;
    struct map by_type;
    struct bytes *types; /* the filter's */
};

/* ---- opening ---- */

static err_t at_line(struct err_text *et, err_t err, const struct script_part *part, size_t offset)
{
    if (et != NULL && (err == ERR_INVALID || err == ERR_LIMIT)) {
        err_prepend(et, "line %u", script_line(part, offset));
        return ERR_INVALID;
    }
    return err;
}

/* Prepares the statements of a part one after the other and hands each to `each`, which owns it. */
static err_t each_statement(struct model *m, enum sql_trust trust, const struct script_part *part,
                            err_t (*each)(struct model *m, struct sql_statement *st, unsigned line,
                                          struct err_text *et),
                            struct err_text *et)
{
    for (size_t at = 0;;) {
        struct bytes rest = bytes_of(part->text.p + at, part->text.n - at);
        struct sql_statement *st;
        size_t used, start = at + sql_skip_blank(rest);
        err_t err = sql_prepare(model_sql(m), trust, rest, &st, &used, et);
        if (err != ERR_OK) {
            return at_line(et, err, part, at + used > start ? at + used : start);
        }
        if (st == NULL) {
            return ERR_OK;
        }
        err = each(m, st, script_line(part, start), et);
        if (err != ERR_OK) {
            return at_line(et, err, part, start);
        }
        at += used;
    }
}

/* The schema is made where the file is new; else it is only checked that it is one. */
static err_t run_schema(struct model *m, struct sql_statement *st, unsigned line,
                        struct err_text *et)
{
    (void)line;
    sql_set_budget(model_sql(m), SCHEMA_STEPS_MAX);
    err_t err = sql_finish(st, et);
    sql_set_budget(model_sql(m), 0);
    sql_finalize(st);
    return err;
}

static err_t find_field(const char *name, enum field *ret, struct err_text *et)
{
    if (name == NULL) {
        return err_set(et, ERR_INVALID, "a parameter needs a name: :stream, :data, ...");
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(name, FIELDS[i]) == 0) {
            *ret = (enum field)i;
            return ERR_OK;
        }
    }
    return err_set(et, ERR_INVALID,
                   "unknown parameter %s; there are :stream :entity :category :type :revision "
                   ":position :time :occurred_at :id :data :metadata",
                   name);
}

static err_t keep_statement(struct model *m, struct sql_statement *st, unsigned line,
                            struct err_text *et)
{
    struct table *t = model_state(m);
    if (t->statement_count == STATEMENTS_MAX) {
        sql_finalize(st);
        return err_set(et, ERR_INVALID, "more than %d statements", STATEMENTS_MAX);
    }
    struct statement *s = &t->statements[t->statement_count++];
    *s = (struct statement){.sql = st, .line = line, .parameter_count = sql_parameters(st)};
    if (s->parameter_count > FIELD_COUNT) { /* names are unique, so one of them is not known */
        s->parameter_count = FIELD_COUNT;
    }
    for (unsigned i = 0; i < s->parameter_count; i++) {
        err_t err = find_field(sql_parameter_name(st, i + 1), &s->parameters[i], et);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- which statements run for which type ---- */

static bool block_takes(const struct script_block *block, struct bytes type)
{
    for (size_t i = 0; i < block->type_count; i++) {
        if (bytes_equal(block->types[i], type)) {
            return true;
        }
    }
    return block->any;
}

static err_t add_handler(struct table *t, struct bytes type, const size_t *block_ends)
{
    struct handler *h = &t->handlers[t->handler_count];
    h->type = type;
    h->statements = arena_alloc(&t->script.arena, (t->statement_count + 1) * sizeof(size_t));
    if (h->statements == NULL) {
        return ERR_MEMORY;
    }
    for (size_t b = 0, s = 0; b < t->script.block_count; b++) {
        bool takes = block_takes(&t->script.blocks[b], type);
        for (; s < block_ends[b]; s++) {
            if (takes) {
                h->statements[h->count++] = s;
            }
        }
    }
    t->handler_count++;
    return type.n == 0 ? ERR_OK : map_add(&t->by_type, type, h);
}

static err_t make_handlers(struct table *t, const size_t *block_ends, bool *ret_any)
{
    size_t names = 1;
    for (size_t b = 0; b < t->script.block_count; b++) {
        names += t->script.blocks[b].type_count;
        *ret_any = *ret_any || t->script.blocks[b].any;
    }
    t->handlers = calloc(names, sizeof *t->handlers);
    t->types = calloc(names, sizeof *t->types);
    if (t->handlers == NULL || t->types == NULL) {
        return ERR_MEMORY;
    }
    for (size_t b = 0; b < t->script.block_count; b++) {
        const struct script_block *block = &t->script.blocks[b];
        for (size_t i = 0; i < block->type_count; i++) {
            if (map_get(&t->by_type, block->types[i]) != NULL) {
                continue;
            }
            t->types[t->handler_count] = block->types[i];
            err_t err = add_handler(t, block->types[i], block_ends);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return add_handler(t, BYTES_NONE, block_ends);
}

/* Beyond what a filter may list, all types are looked at. */
static void set_filter(struct model *m, bool any)
{
    struct table *t = model_state(m);
    size_t types = t->handler_count - 1;
    struct store_filter filter = {.categories = t->script.categories,
                                  .category_count = t->script.category_count,
                                  .types = t->types,
                                  .type_count = any || types > STORE_FILTER_MAX ? 0 : types};
    model_set_filter(m, &filter);
}

static err_t open_blocks(struct model *m, struct err_text *et)
{
    struct table *t = model_state(m);
    size_t ends[SCRIPT_BLOCKS_MAX] = {0};
    for (size_t i = 0; i < t->script.block_count; i++) {
        err_t err = each_statement(m, SQL_HANDLER, &t->script.blocks[i].part, keep_statement, et);
        if (err != ERR_OK) {
            return err;
        }
        ends[i] = t->statement_count;
    }
    bool any = false;
    err_t err = make_handlers(t, ends, &any);
    if (err == ERR_OK) {
        set_filter(m, any);
    }
    return err;
}

static err_t table_open(struct model *m, struct bytes source, bool fresh, struct err_text *et)
{
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return ERR_MEMORY;
    }
    model_set_state(m, t);
    map_init(&t->by_type);
    t->statements = calloc(STATEMENTS_MAX, sizeof *t->statements);
    err_t err = t->statements == NULL ? ERR_MEMORY : script_parse(source, &t->script, et);
    for (size_t i = 0; fresh && err == ERR_OK && i < t->script.schema_count; i++) {
        err = each_statement(m, SQL_SCHEMA, &t->script.schema[i], run_schema, et);
    }
    return err == ERR_OK ? open_blocks(m, et) : err;
}

static void table_close(struct model *m)
{
    struct table *t = model_state(m);
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->statement_count; i++) {
        sql_finalize(t->statements[i].sql);
    }
    map_done(&t->by_type);
    script_done(&t->script);
    free(t->statements);
    free(t->handlers);
    free(t->types);
    free(t);
}

/* ---- an event ---- */

/* Text forms that live as long as the statement runs. */
struct scratch {
    char time[TIMESTAMP_TEXT_BYTES];
    char id[UUID_TEXT_BYTES];
};

static struct bytes entity_of(struct bytes stream)
{
    size_t category = event_category(stream).n;
    return category == stream.n ? BYTES_NONE
                                : bytes_of(stream.p + category + 1, stream.n - category - 1);
}

static struct sql_value text_or_null(struct bytes text)
{
    return (struct sql_value){.kind = text.n == 0 ? SQL_NULL : SQL_TEXT, .bytes = text};
}

static struct sql_value number(uint64_t value)
{
    return (struct sql_value){.kind = SQL_INTEGER, .integer = (int64_t)value};
}

static struct sql_value data_of(const struct event *e)
{
    if (e->data.n == 0) { /* redacted */
        return (struct sql_value){.kind = SQL_NULL};
    }
    bool json = event_content_is_json(e->content_type);
    return (struct sql_value){.kind = json ? SQL_TEXT : SQL_BLOB, .bytes = e->data};
}

static struct sql_value field_value(const struct event *e, enum field field, struct scratch *s)
{
    switch (field) {
    case FIELD_STREAM:
        return text_or_null(e->stream);
    case FIELD_ENTITY:
        return text_or_null(entity_of(e->stream));
    case FIELD_CATEGORY:
        return text_or_null(event_category(e->stream));
    case FIELD_TYPE:
        return text_or_null(e->type);
    case FIELD_REVISION:
        return number(e->revision);
    case FIELD_POSITION:
        return number(e->position);
    case FIELD_TIME:
        timestamp_format(e->time_us, s->time);
        return text_or_null(bytes_of(s->time, sizeof s->time));
    case FIELD_OCCURRED_AT:
        return text_or_null(e->occurred_at);
    case FIELD_ID:
        uuid_format(e->id.p, s->id);
        return text_or_null(bytes_of(s->id, sizeof s->id));
    case FIELD_DATA:
        return data_of(e);
    case FIELD_METADATA:
        return text_or_null(e->metadata);
    case FIELD_COUNT:
        break;
    }
    return (struct sql_value){.kind = SQL_NULL};
}

static err_t run_statement(const struct statement *s, const struct event *e, struct err_text *et)
{
    struct scratch scratch;
    for (unsigned i = 0; i < s->parameter_count; i++) {
        struct sql_value value = field_value(e, s->parameters[i], &scratch);
        sql_bind(s->sql, i + 1, &value);
    }
    err_t err = sql_finish(s->sql, et);
    if (err != ERR_OK) {
        err_prepend(et, "line %u", s->line);
    }
    return err;
}

static err_t table_apply(struct model *m, const struct event *e, struct err_text *et)
{
    struct table *t = model_state(m);
    const struct handler *h = map_get(&t->by_type, e->type);
    if (h == NULL) {
        h = &t->handlers[t->handler_count - 1];
    }
    if (h->count > 0 && e->data.n > SQL_VALUE_BYTES_MAX) {
        return err_set(et, ERR_LIMIT, "its data is longer than %zu bytes", SQL_VALUE_BYTES_MAX);
    }
    sql_set_now(e->time_us);
    sql_set_budget(model_sql(m), EVENT_STEPS_MAX);
    for (size_t i = 0; i < h->count; i++) {
        err_t err = run_statement(&t->statements[h->statements[i]], e, et);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

const struct model_kind model_table = {
    .name = "table",
    .media_type = "application/sql",
    .batch_events = BATCH_EVENTS,
    .open = table_open,
    .apply = table_apply,
    .close = table_close,
};
