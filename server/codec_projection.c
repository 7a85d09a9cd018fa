/* codec_projection: see codec_projection.h. The field numbers of what is written by hand are those
 * of projections.proto; the black-box tests read it with code that was generated from there. */
#include "server/codec_projection.h"

#include "daybook/v1/projections.pb-c.h"
#include "server/codec_int.h"
#include "server/protobuf_memory.h"

#include <stdio.h>

#define WIRE_VARINT 0
#define WIRE_FIXED  1
#define WIRE_BYTES  2

/* ---- fields ---- */

static void put_tag(struct buf *b, unsigned field, unsigned wire)
{
    buf_put_varint(b, field << 3 | wire);
}

void codec_put_number(struct buf *b, unsigned field, uint64_t v)
{
    if (v != 0) {
        put_tag(b, field, WIRE_VARINT);
        buf_put_varint(b, v);
    }
}

void codec_put_nested(struct buf *b, unsigned field, struct bytes message)
{
    put_tag(b, field, WIRE_BYTES);
    buf_put_varint(b, message.n);
    buf_put(b, message);
}

void codec_put_text(struct buf *b, unsigned field, struct bytes text)
{
    if (text.n > 0) {
        codec_put_nested(b, field, text);
    }
}

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7) {
        n++;
    }
    return n;
}

/* ---- status ---- */

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text); /* the generated code only reads */
}

static void fill_version(Daybook__V1__ProjectionVersion *m, Daybook__V1__ProjectionFault *fault,
                         const struct version_status *v)
{
    daybook__v1__projection_version__init(m);
    daybook__v1__projection_fault__init(fault);
    m->version = v->version;
    m->state = text_of(runner_state_name(v->state));
    m->position = v->position;
    m->lag_events = v->lag_events;
    m->lag_seconds = (double)v->lag_us / 1e6;
    m->events_per_second = v->events_per_second;
    if (v->eta_s >= 0) {
        m->eta_case = DAYBOOK__V1__PROJECTION_VERSION__ETA_ETA_SECONDS;
        m->eta_seconds = v->eta_s;
    }
    m->stalled_seconds = (double)v->stalled_us / 1e6;
    m->trying_again_after = text_of(v->failing);
    fault->position = v->fault_position;
    fault->detail = text_of(v->fault);
    m->error = v->state == RUNNER_FAULTED ? fault : NULL;
}

/* `source` has no NUL: a script with one is refused. */
static void put_projection(struct buf *b, const struct projection_status *s, char *source,
                           bool is_entry)
{
    Daybook__V1__Projection m = DAYBOOK__V1__PROJECTION__INIT;
    Daybook__V1__ProjectionVersion now, next;
    Daybook__V1__ProjectionFault fault, next_fault;
    bool serves = s->serving.version != 0;
    fill_version(&now, &fault, serves ? &s->serving : &s->building);
    fill_version(&next, &next_fault, &s->building);
    m.version = now.version, m.state = now.state, m.position = now.position;
    m.lag_events = now.lag_events, m.lag_seconds = now.lag_seconds;
    m.events_per_second = now.events_per_second;
    if (now.eta_case == DAYBOOK__V1__PROJECTION_VERSION__ETA_ETA_SECONDS) {
        m.eta_case = DAYBOOK__V1__PROJECTION__ETA_ETA_SECONDS;
        m.eta_seconds = now.eta_seconds;
    }
    m.stalled_seconds = now.stalled_seconds, m.trying_again_after = now.trying_again_after;
    m.error = now.error;
    m.name = text_of(s->name);
    m.kind = text_of(s->kind);
    m.on_error = text_of(s->policy.set_aside ? "set_aside" : "stop");
    m.attempts = s->policy.attempts;
    m.defined_us = s->defined_us;
    m.previous_version = s->previous;
    m.building = serves && s->building.version != 0 ? &next : NULL;
    m.source = source;
    if (is_entry) {
        put_tag(b, 1, WIRE_BYTES);
        buf_put_varint(b, daybook__v1__projection__get_packed_size(&m));
    }
    codec_put_message(b, &m.base);
}

void codec_put_projection(struct buf *b, const struct projection_status *s, struct bytes source)
{
    struct buf text;
    buf_init(&text, source.n + 1);
    buf_put(&text, source);
    buf_put_byte(&text, '\0');
    put_projection(b, s, buf_status(&text) == ERR_OK ? (char *)text.p : text_of(NULL), false);
    buf_done(&text);
}

void codec_put_projection_entry(struct buf *b, const struct projection_status *s)
{
    put_projection(b, s, text_of(NULL), true);
}

void codec_put_projection_deleted(struct buf *b, struct bytes name)
{
    Daybook__V1__Projection m = DAYBOOK__V1__PROJECTION__INIT;
    char room[EVENT_NAME_MAX + 1];
    m.name = codec_terminated(name, room);
    m.deleted = true;
    codec_put_message(b, &m.base);
}

/* ---- rows ---- */

static bool is_text(const struct sql_value *v)
{
    return v->kind == SQL_TEXT && bytes_are_utf8(v->bytes);
}

/* Of the Value message. */
static size_t value_bytes(const struct sql_value *v)
{
    switch (v->kind) {
    case SQL_NULL:
        return 2;
    case SQL_INTEGER:
        return 1 + varint_bytes((uint64_t)v->integer);
    case SQL_REAL:
        return 1 + sizeof v->real;
    case SQL_TEXT:
    case SQL_BLOB:
        break;
    }
    return 1 + varint_bytes(v->bytes.n) + v->bytes.n;
}

static void put_value(struct buf *b, const struct sql_value *v)
{
    put_tag(b, 1, WIRE_BYTES);
    buf_put_varint(b, value_bytes(v));
    switch (v->kind) {
    case SQL_NULL:
        codec_put_number(b, 1, 1);
        break;
    case SQL_INTEGER: /* also where it is 0: the field says which kind */
        put_tag(b, 2, WIRE_VARINT);
        buf_put_varint(b, (uint64_t)v->integer);
        break;
    case SQL_REAL: {
        uint64_t bits;
        memcpy(&bits, &v->real, sizeof bits);
        put_tag(b, 3, WIRE_FIXED);
        for (unsigned i = 0; i < sizeof bits; i++) {
            buf_put_byte(b, (uint8_t)(bits >> 8 * i));
        }
        break;
    }
    case SQL_TEXT:
    case SQL_BLOB:
        codec_put_nested(b, is_text(v) ? 4 : 5, v->bytes);
        break;
    }
}

static err_t put_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    struct buf *b = ctx;
    (void)position;
    for (unsigned i = 0; i < n; i++) {
        codec_put_nested(b, 2, bytes_of_string(names[i]));
    }
    return ERR_OK;
}

static err_t put_row(void *ctx, const struct sql_value *values, unsigned n)
{
    struct buf *b = ctx;
    size_t size = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t value = value_bytes(&values[i]);
        size += 1 + varint_bytes(value) + value;
    }
    put_tag(b, 1, WIRE_BYTES);
    buf_put_varint(b, size);
    for (unsigned i = 0; i < n; i++) {
        put_value(b, &values[i]);
    }
    return buf_status(b) == ERR_OK ? ERR_OK : ERR_LIMIT;
}

struct query_sink codec_rows_sink(struct buf *b)
{
    return (struct query_sink){put_columns, put_row, b};
}

void codec_put_error_row(struct buf *b, unsigned field, const struct sql_value *v)
{
    Daybook__V1__ProjectionError m = DAYBOOK__V1__PROJECTION_ERROR__INIT;
    struct buf texts;
    size_t stream = 0, type = v[1].bytes.n + 1, detail = type + v[2].bytes.n + 1;
    buf_init(&texts, detail + v[6].bytes.n + 1);
    for (unsigned i = 0; i < 3; i++) {
        buf_put(&texts, v[i == 2 ? 6 : i + 1].bytes);
        buf_put_byte(&texts, '\0');
    }
    if (buf_status(&texts) == ERR_OK) {
        m.stream = (char *)texts.p + stream;
        m.type = (char *)texts.p + type;
        m.detail = (char *)texts.p + detail;
    }
    m.position = (uint64_t)v[0].integer;
    m.attempts = (uint64_t)v[4].integer;
    m.skipped = v[5].integer != 0;
    put_tag(b, field, WIRE_BYTES);
    buf_put_varint(b, daybook__v1__projection_error__get_packed_size(&m));
    codec_put_message(b, &m.base);
    buf_done(&texts);
}

void codec_put_document(struct buf *b, struct bytes key, struct bytes document, uint64_t position)
{
    codec_put_text(b, 1, key);
    codec_put_text(b, 2, document);
    codec_put_number(b, 3, position);
}

void codec_put_document_entry(struct buf *b, struct bytes key, struct bytes document)
{
    put_tag(b, 1, WIRE_BYTES);
    buf_put_varint(b, (key.n == 0 ? 0 : 1 + varint_bytes(key.n) + key.n) + 1 +
                          varint_bytes(document.n) + document.n);
    codec_put_document(b, key, document, 0);
}

/* ---- a query ---- */

static bool refuse(struct json_query *q, bool malformed, const char *field, const char *detail)
{
    q->malformed = malformed;
    q->field = field;
    snprintf(q->detail, sizeof q->detail, "%s", detail);
    return false;
}

static bool read_value(const Daybook__V1__Value *m, struct sql_value *ret)
{
    *ret = (struct sql_value){.kind = SQL_NULL};
    switch (m->kind_case) {
    case DAYBOOK__V1__VALUE__KIND_INTEGER:
        *ret = (struct sql_value){.kind = SQL_INTEGER, .integer = m->integer};
        return true;
    case DAYBOOK__V1__VALUE__KIND_REAL:
        *ret = (struct sql_value){.kind = SQL_REAL, .real = m->real};
        return true;
    case DAYBOOK__V1__VALUE__KIND_TEXT:
        *ret = (struct sql_value){.kind = SQL_TEXT, .bytes = protobuf_memory_string(m->text)};
        return bytes_are_utf8(ret->bytes);
    case DAYBOOK__V1__VALUE__KIND_BLOB:
        *ret = (struct sql_value){.kind = SQL_BLOB, .bytes = bytes_of(m->blob.data, m->blob.len)};
        return true;
    case DAYBOOK__V1__VALUE__KIND_NULL:
    case DAYBOOK__V1__VALUE__KIND__NOT_SET:
    case _DAYBOOK__V1__VALUE__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return true;
}

static bool read_arguments(const Daybook__V1__Query *m, struct arena *arena, struct json_query *ret)
{
    size_t n = m->n_params + m->n_named_params;
    if (m->n_params > 0 && m->n_named_params > 0) {
        return refuse(ret, false, "named_params", "params and named_params do not go together");
    }
    if (n > JSON_QUERY_ARGUMENTS_MAX) {
        return refuse(ret, false, "params", "there are more than 1000");
    }
    ret->arguments = arena_alloc(arena, (n + 1) * sizeof *ret->arguments);
    if (ret->arguments == NULL) {
        return refuse(ret, false, "params", "there is not enough memory for this request");
    }
    for (size_t i = 0; i < n; i++) {
        struct query_argument *a = &ret->arguments[i];
        bool named = m->n_named_params > 0;
        const Daybook__V1__Value *value = named ? m->named_params[i]->value : m->params[i];
        *a = (struct query_argument){
            .name = named ? protobuf_memory_string(m->named_params[i]->name) : BYTES_NONE};
        if (named && a->name.n == 0) {
            return refuse(ret, false, "named_params", "a parameter has no name");
        }
        if (value != NULL && !read_value(value, &a->value)) {
            return refuse(ret, false, named ? "named_params" : "params", "text must be UTF-8");
        }
    }
    ret->argument_count = n;
    return true;
}

bool codec_read_query(struct bytes body, struct arena *arena, struct json_query *ret)
{
    struct protobuf_memory memory;
    const Daybook__V1__Query *m = (const Daybook__V1__Query *)protobuf_memory_unpack(
        &memory, arena, &daybook__v1__query__descriptor, body);
    if (m == NULL) {
        return refuse(ret, true, NULL, "the body does not parse as a Query");
    }
    if (m->base.n_unknown_fields > 0) {
        return refuse(ret, false, NULL, "Query has no such field");
    }
    ret->sql = protobuf_memory_string(m->sql);
    if (ret->sql.n == 0) {
        return refuse(ret, false, "sql", "is required");
    }
    if (!bytes_are_utf8(ret->sql)) {
        return refuse(ret, false, "sql", "must be UTF-8");
    }
    return read_arguments(m, arena, ret);
}
