/* client_library: what the C client library must do, with a real server. test_client_library.py
 * compiles it and runs it: client_library URL [lossy]. */
#include "clients/c/daybook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct daybook *db;
/* Connections are cut: an append whose answer was lost is a duplicate when it is tried again. */
static bool lossy;

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            const struct daybook_problem *p_ = daybook_problem(db);                           \
            (void)fprintf(stderr, "line %d: %s; last problem: %s %s %s: %s (%s)\n", __LINE__, \
                          #condition, p_->code, p_->title, p_->field, p_->detail, p_->hint);  \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

static const struct daybook_expect any = {.kind = DAYBOOK_ANY};

static struct daybook_new_event event_of(const char *type, const char *json)
{
    return (struct daybook_new_event){.type = type, .data = {json, strlen(json)}};
}

/* An event comes back as it was given, by iterator and by number. */
static void check_every_field(void)
{
    static const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 0x80, 8, 0x80, 10, 11, 12, 13, 14, 15, 16};
    static const char *const tags[] = {"a", "b \xc3\xa9"};
    static const uint8_t data[] = {0, 255, '\n'};
    const struct daybook_new_event full = {
        .id = id,
        .type = "T \xc3\xa9",
        .data = {data, sizeof data},
        .metadata = {"{ \"m\":1.0}", 10},
        .content_type = "image/png",
        .tags = tags,
        .tags_n = 2,
        .occurred_at = "2026-01-01T00:00:00+01:00",
        .schema_version = 7,
    };
    const char *stream = "fields-/?#% \xc3\xa9";
    const struct daybook_event *e = NULL;
    struct daybook_appended a;
    CHECK(daybook_append(db, stream, any, &full, 1, &a) == DAYBOOK_OK);
    CHECK(strcmp(a.stream, stream) == 0 && a.first_revision == 1 && (lossy || !a.duplicate));
    CHECK(daybook_append(db, stream, any, &full, 1, &a) == DAYBOOK_OK && a.duplicate);
    for (int by_stream = 0; by_stream < 2; by_stream++) {
        uint64_t number = by_stream ? a.first_revision : a.first_position;
        CHECK(daybook_get_event(db, by_stream ? stream : NULL, number, &e) == DAYBOOK_OK);
        CHECK(e->position == a.first_position && e->revision == 1 && e->time_us > 0);
        CHECK(strcmp(e->stream, stream) == 0 && strcmp(e->type, full.type) == 0);
        CHECK(memcmp(e->id, id, 16) == 0 && e->data.n == 3 && memcmp(e->data.p, data, 3) == 0);
        CHECK(e->metadata.n == 10 && memcmp(e->metadata.p, full.metadata.p, 10) == 0);
        CHECK(strcmp(e->content_type, "image/png") == 0 && e->schema_version == 7);
        CHECK(strcmp(e->occurred_at, full.occurred_at) == 0);
        CHECK(e->tags_n == 2 && strcmp(e->tags[1], tags[1]) == 0);
    }
    struct daybook_new_event other = full;
    other.type = "U";
    CHECK(daybook_append(db, stream, any, &other, 1, &a) == DAYBOOK_ERR_ID_REUSED);
}

/* Each expectation is met or is a conflict with its violation. */
static void check_expectations(void)
{
    struct daybook_new_event e = event_of("T", "1");
    struct daybook_expect none = {.kind = DAYBOOK_NO_STREAM};
    struct daybook_expect exists = {.kind = DAYBOOK_STREAM_EXISTS};
    struct daybook_expect zero = {.kind = DAYBOOK_REVISION, .revision = 0};
    struct daybook_expect one = {.kind = DAYBOOK_REVISION, .revision = 1};
    struct daybook_appended a = {.last_revision = 77};
    CHECK(daybook_append(db, "exp-1", exists, &e, 1, &a) == DAYBOOK_ERR_CONFLICT);
    const struct daybook_problem *p = daybook_problem(db);
    CHECK(p->http_status == 409 && strcmp(p->code, "wrong-expected-revision") == 0);
    CHECK(p->violations_n == 1 && strcmp(p->violations[0].stream, "exp-1") == 0);
    CHECK(strcmp(p->violations[0].expected, "stream_exists") == 0 && p->violations[0].actual == 0);
    CHECK(a.last_revision == 77);
    CHECK(daybook_append(db, "exp-1", none, &e, 1, &a) == DAYBOOK_OK);
    CHECK(daybook_append(db, "exp-1", zero, &e, 1, &a) == DAYBOOK_ERR_CONFLICT);
    CHECK(strcmp(daybook_problem(db)->violations[0].expected, "0") == 0);
    CHECK(daybook_append(db, "exp-1", one, &e, 1, &a) == DAYBOOK_OK && a.last_revision == 2);
    CHECK(daybook_append(db, "exp-1", exists, &e, 1, &a) == DAYBOOK_OK && a.last_revision == 3);
}

/* A batch is all or nothing, guards other streams, and is safe to send again. */
static void check_batch(void)
{
    struct daybook_new_event two[] = {event_of("A", "1"), event_of("B", "{}")};
    struct daybook_expect none = {.kind = DAYBOOK_NO_STREAM};
    const struct daybook_appended *results = NULL;
    size_t n = 0;
    struct daybook_batch *batch = daybook_batch_new(db);
    CHECK(daybook_batch_append(batch, "many-1", none, two, 2) == DAYBOOK_OK);
    CHECK(daybook_batch_append(batch, "many-2", any, two, 1) == DAYBOOK_OK);
    CHECK(daybook_batch_append(batch, "many-1", any, two, 1) == DAYBOOK_OK);
    CHECK(daybook_batch_check(batch, "exp-1", none) == DAYBOOK_OK);
    CHECK(daybook_batch_bytes(batch) > 100);
    CHECK(daybook_batch_send(batch, &results, &n) == DAYBOOK_ERR_CONFLICT);
    struct daybook_stream_info info;
    CHECK(daybook_get_stream(db, "many-1", &info) == DAYBOOK_ERR_NOT_FOUND);
    daybook_batch_clear(batch);
    CHECK(daybook_batch_append(batch, "many-1", none, two, 2) == DAYBOOK_OK);
    CHECK(daybook_batch_append(batch, "many-2", any, two, 1) == DAYBOOK_OK);
    CHECK(daybook_batch_append(batch, "many-1", any, two, 1) == DAYBOOK_OK);
    for (int again = 0; again < 2; again++) {
        CHECK(daybook_batch_send(batch, &results, &n) == DAYBOOK_OK && n == 3);
        CHECK(results[0].last_revision == 2 && results[2].first_revision == 3);
        CHECK(strcmp(results[1].stream, "many-2") == 0);
        CHECK(results[1].duplicate == (again == 1) || lossy);
        CHECK(results[2].last_position == results[0].first_position + 3);
    }
    CHECK(daybook_batch_append(batch, "many-2", any, two, 1) == DAYBOOK_OK);
    CHECK(daybook_batch_send(batch, &results, &n) == DAYBOOK_ERR_PARTIAL_DUPLICATE);
    daybook_batch_free(batch);
}

/* Many events in both directions, with a filter, a limit, and other calls between them. */
static void check_read(void)
{
    enum { EVENTS = 5000 };
    static struct daybook_new_event all[EVENTS];
    static char data[EVENTS][16];
    struct daybook_appended a;
    const struct daybook_event *e = NULL;
    struct daybook_events *events[2] = {NULL};
    for (int i = 0; i < EVENTS; i++) {
        (void)snprintf(data[i], sizeof data[i], "%d", i + 1);
        all[i] = event_of(i % 10 == 0 ? "Tenth" : "Other", data[i]);
    }
    CHECK(daybook_append(db, "read-1", any, all, EVENTS, &a) == DAYBOOK_OK);
    struct daybook_read_options forward = {.stream = "read-1"};
    struct daybook_read_options backward = {.stream = "read-1", .backward = true};
    CHECK(daybook_read(db, &forward, &events[0]) == DAYBOOK_OK);
    CHECK(daybook_read(db, &backward, &events[1]) == DAYBOOK_OK);
    struct daybook_status status;
    for (uint64_t i = 1; i <= EVENTS; i++) {
        CHECK(daybook_events_next(events[0], &e) == DAYBOOK_OK && e->revision == i);
        CHECK(e->data.n == strlen(data[i - 1]) && memcmp(e->data.p, data[i - 1], e->data.n) == 0);
        CHECK(daybook_events_next(events[1], &e) == DAYBOOK_OK && e->revision == EVENTS + 1 - i);
        CHECK(i % 500 != 0 || daybook_get_status(db, &status) == DAYBOOK_OK);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(daybook_events_next(events[i], &e) == DAYBOOK_END);
        CHECK(daybook_events_next(events[i], &e) == DAYBOOK_END);
        daybook_events_free(events[i]);
    }
    const char *types[] = {"Tenth"};
    struct daybook_read_options some = {.types = {types, 1}, .after = a.first_position, .limit = 3};
    CHECK(daybook_read(db, &some, &events[0]) == DAYBOOK_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        CHECK(daybook_events_next(events[0], &e) == DAYBOOK_OK && e->revision == i * 10 + 1);
    }
    CHECK(daybook_events_next(events[0], &e) == DAYBOOK_END);
    daybook_events_free(events[0]);
    /* One that is left in the middle does no harm to what follows. */
    CHECK(daybook_read(db, NULL, &events[0]) == DAYBOOK_OK);
    CHECK(daybook_events_next(events[0], &e) == DAYBOOK_OK && e->position == 1);
    daybook_events_free(events[0]);
    daybook_events_free(NULL);
}

/* What is not there, and what is called wrongly, is an error of its kind and goes on to be one. */
static void check_errors(void)
{
    const struct daybook_event *e = NULL;
    struct daybook_events *events = NULL;
    struct daybook_appended a;
    struct daybook_new_event good = event_of("T", "1");
    struct daybook_new_event bad = event_of("T", "{");
    struct daybook_new_event untyped = event_of(NULL, "1");
    struct daybook_read_options nothing = {.stream = "nothing"};
    CHECK(daybook_read(db, &nothing, &events) == DAYBOOK_OK);
    CHECK(daybook_events_next(events, &e) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(daybook_events_next(events, &e) == DAYBOOK_ERR_NOT_FOUND);
    daybook_events_free(events);
    CHECK(daybook_get_event(db, NULL, 999999, &e) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(strcmp(daybook_problem(db)->code, "event-not-found") == 0);
    CHECK(daybook_append(db, "s", any, &bad, 1, &a) == DAYBOOK_ERR_REJECTED);
    CHECK(strcmp(daybook_problem(db)->field, "events[0].data") == 0);
    CHECK(daybook_append(db, "s", any, &untyped, 1, &a) == DAYBOOK_ERR_ARGUMENT);
    CHECK(daybook_append(db, "s", any, &good, 0, &a) == DAYBOOK_ERR_ARGUMENT);
    CHECK(daybook_append(db, "", any, &good, 1, &a) == DAYBOOK_ERR_ARGUMENT);
    CHECK(daybook_append(db, "..", any, &good, 1, &a) == DAYBOOK_OK && a.first_revision == 1);
    CHECK(strcmp(a.stream, "..") == 0);
}

/* Limits, truncation, redaction and deletion, and that each may be sent again. */
static void check_life(void)
{
    struct daybook_new_event three[] = {event_of("A", "1"), event_of("A", "2"), event_of("A", "3")};
    struct daybook_expect at = {.kind = DAYBOOK_REVISION, .revision = 3};
    struct daybook_metadata_change change = {.set_max_count = true, .max_count = 2};
    struct daybook_metadata_change custom = {.set_custom = true, .custom = {"{ \"a\":1.0}", 10}};
    struct daybook_metadata_change nothing = {0};
    struct daybook_changed c;
    struct daybook_appended a;
    struct daybook_stream_info info;
    const struct daybook_event *e = NULL;
    CHECK(daybook_append(db, "life-1", any, three, 3, &a) == DAYBOOK_OK);
    CHECK(daybook_set_metadata(db, "life-1", at, &change, &c) == DAYBOOK_OK);
    CHECK(c.first_revision == 2 && c.head_revision == 3 && strcmp(c.stream, "life-1") == 0);
    CHECK(daybook_set_metadata(db, "life-1", at, &custom, &c) == DAYBOOK_OK);
    CHECK(daybook_set_metadata(db, "life-1", at, &nothing, &c) == DAYBOOK_ERR_REJECTED);
    CHECK(daybook_get_stream(db, "life-1", &info) == DAYBOOK_OK && info.max_count == 2);
    CHECK(info.custom.n == 10 && memcmp(info.custom.p, custom.custom.p, 10) == 0);
    CHECK(info.events == 2 && !info.deleted && !info.tombstoned && info.max_age_s == 0);
    for (int again = 0; again < 2; again++) {
        CHECK(daybook_redact(db, "life-1", 3, again == 0 ? "asked for" : NULL, &c) == DAYBOOK_OK);
        CHECK(c.duplicate == (again == 1) || lossy);
    }
    CHECK(daybook_get_event(db, "life-1", 3, &e) == DAYBOOK_OK && e->redacted && e->data.n == 0);
    CHECK(daybook_get_event(db, "life-1", 2, &e) == DAYBOOK_OK && !e->redacted);
    CHECK(daybook_redact(db, "life-1", 1, NULL, &c) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(daybook_redact(db, "life-1", 0, NULL, &c) == DAYBOOK_ERR_ARGUMENT);
    at.revision = 2;
    CHECK(daybook_delete_stream(db, "life-1", at, false, &c) == DAYBOOK_ERR_CONFLICT);
    CHECK(daybook_delete_stream(db, "life-1", any, false, &c) == DAYBOOK_OK && c.deleted);
    CHECK(daybook_get_event(db, "life-1", 3, &e) == DAYBOOK_ERR_DELETED);
    CHECK(daybook_delete_stream(db, "life-1", any, true, &c) == DAYBOOK_OK && c.tombstoned);
    CHECK(daybook_append(db, "life-1", any, three, 1, &a) == DAYBOOK_ERR_DELETED);
    CHECK(daybook_delete_stream(db, "life-none", any, false, &c) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(daybook_delete_stream(db, "", any, false, &c) == DAYBOOK_ERR_ARGUMENT);
}

static void check_queries(void)
{
    struct daybook_stream_info info;
    struct daybook_stream_list list;
    struct daybook_status status;
    struct daybook_verify_report report;
    CHECK(daybook_get_stream(db, "many-1", &info) == DAYBOOK_OK);
    CHECK(info.head_revision == 3 && info.events == 3 && strcmp(info.category, "many") == 0);
    struct daybook_list_options page = {.prefix = "many-", .limit = 1};
    CHECK(daybook_list_streams(db, &page, &list) == DAYBOOK_OK);
    CHECK(list.streams_n == 1 && !list.end && strcmp(list.streams[0].stream, "many-1") == 0);
    char after[300];
    (void)snprintf(after, sizeof after, "%s", list.next);
    page.after = after;
    CHECK(daybook_list_streams(db, &page, &list) == DAYBOOK_OK);
    CHECK(list.streams_n == 1 && strcmp(list.streams[0].stream, "many-2") == 0);
    CHECK(daybook_list_streams(db, NULL, &list) == DAYBOOK_OK && list.streams_n >= 5);
    CHECK(daybook_get_status(db, &status) == DAYBOOK_OK && status.position > 5000);
    CHECK(strlen(status.store_id) == 36 && status.version[0] != '\0');
    CHECK(daybook_verify(db, &report) == DAYBOOK_OK && report.ok && report.findings_n == 0);
    CHECK(report.events == status.position);
}

static const char script[] = "CREATE TABLE t (p INTEGER PRIMARY KEY, stream TEXT NOT NULL);\n"
                             "-- @on *\nINSERT INTO t VALUES (:position, :stream);\n";

/* Values of every kind go there and come back. */
static void check_projection_values(void)
{
    struct daybook_rows rows;
    uint64_t position;
    struct daybook_param params[] = {
        {.name = "n", .value = {.kind = DAYBOOK_NULL}},
        {.name = "i", .value = {.kind = DAYBOOK_INTEGER, .integer = INT64_MIN}},
        {.name = "r", .value = {.kind = DAYBOOK_REAL, .real = 0.1}},
        {.name = "w", .value = {.kind = DAYBOOK_REAL, .real = 2}},
        {.name = "t", .value = {.kind = DAYBOOK_TEXT, .text = {"q\"\\\n\0\x1f\xc3\xa9", 8}}},
    };
    struct daybook_query q = {
        .projection = "p-1",
        .params = params,
        .params_n = 5,
        .sql = "SELECT :n, :i, :r, typeof(:w), :t UNION ALL SELECT 1, 2, 3, 4, 5"};
    CHECK(daybook_query(db, &q, &rows, &position) == DAYBOOK_OK);
    CHECK(rows.columns_n == 5 && rows.rows_n == 2 && position > 0);
    const struct daybook_value *v = rows.values;
    CHECK(v[0].kind == DAYBOOK_NULL && v[1].kind == DAYBOOK_INTEGER && v[1].integer == INT64_MIN);
    CHECK(v[2].kind == DAYBOOK_REAL && v[2].real > 0.09 && v[2].real < 0.11);
    CHECK(v[3].text.n == 4 && memcmp(v[3].text.p, "real", 4) == 0);
    CHECK(v[4].text.n == 8 && memcmp(v[4].text.p, params[4].value.text.p, 8) == 0);
    CHECK(v[9].integer == 5 && daybook_json(db).n > 20);
    params[4].name = NULL;
    CHECK(daybook_query(db, &q, &rows, &position) == DAYBOOK_ERR_ARGUMENT);
}

static void check_projections(void)
{
    struct daybook_definition d = {.media_type = DAYBOOK_SQL,
                                   .source = {script, sizeof script - 1}};
    struct daybook_projection p;
    struct daybook_dry_run dry;
    CHECK(daybook_projection_dry_run(db, "p-1", &d, 3, &dry) == DAYBOOK_OK);
    CHECK(dry.events == 3 && dry.tables_n == 1 && dry.tables[0].count == 3 && dry.errors_n == 0);
    CHECK(dry.tables[0].sample.columns_n == 2 && dry.tables[0].sample.rows_n == 3);
    CHECK(daybook_projection_get(db, "p-1", &p) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(daybook_projection_put(db, "p-1", &d, &p) == DAYBOOK_OK);
    CHECK(strcmp(p.name, "p-1") == 0 && strcmp(p.kind, "table") == 0 && !p.set_aside);
    CHECK(p.current.version == 1 && strcmp(p.source, script) == 0 && p.defined[0] != '\0');
    struct daybook_status status;
    CHECK(daybook_get_status(db, &status) == DAYBOOK_OK);
    struct daybook_query q = {.projection = "p-1",
                              .sql = "SELECT count(*) FROM t WHERE p > ?",
                              .params = &(struct daybook_param){.value = {.kind = DAYBOOK_INTEGER}},
                              .params_n = 1,
                              .min_position = status.position,
                              .wait_ms = 30000};
    struct daybook_rows rows;
    uint64_t position;
    CHECK(daybook_query(db, &q, &rows, &position) == DAYBOOK_OK && position >= status.position);
    CHECK(rows.rows_n == 1 && rows.values[0].integer > 5000);
    q.min_position = UINT64_MAX / 4;
    q.wait_ms = 1;
    CHECK(daybook_query(db, &q, &rows, &position) == DAYBOOK_ERR_UNAVAILABLE || lossy);
    CHECK(strcmp(daybook_problem(db)->code, "not-caught-up") == 0 || lossy);
    check_projection_values();
    const struct daybook_table *tables;
    const struct daybook_projection *list;
    struct daybook_projection_errors errors;
    size_t n;
    CHECK(daybook_projection_get_schema(db, "p-1", &tables, &n) == DAYBOOK_OK && n == 1);
    CHECK(tables[0].columns_n == 2 && tables[0].columns[0].primary_key);
    CHECK(strcmp(tables[0].columns[1].type, "TEXT") == 0 && tables[0].columns[1].not_null);
    CHECK(daybook_projection_list(db, &list, &n) == DAYBOOK_OK && n == 2);
    CHECK(strcmp(list[1].name, "p-1") == 0 && list[1].source[0] == '\0');
    CHECK(daybook_projection_get_errors(db, "p-1", 0, 10, &errors) == DAYBOOK_OK);
    CHECK(errors.errors_n == 0 && errors.end);
    CHECK(daybook_projection_get(db, "", &p) == DAYBOOK_ERR_ARGUMENT);
    if (lossy) { /* an order is sent once */
        return;
    }
    CHECK(daybook_projection_order(db, "p-1", DAYBOOK_PAUSE, &p) == DAYBOOK_OK);
    CHECK(strcmp(p.current.state, "paused") == 0);
    CHECK(daybook_projection_order(db, "p-1", DAYBOOK_RESUME, &p) == DAYBOOK_OK);
    CHECK(daybook_projection_order(db, "p-1", DAYBOOK_SKIP, &p) == DAYBOOK_ERR_REJECTED);
    CHECK(strcmp(daybook_problem(db)->code, "wrong-projection-state") == 0);
    CHECK(daybook_projection_order(db, "p-1", DAYBOOK_DELETE, &p) == DAYBOOK_OK && p.deleted);
    CHECK(daybook_projection_order(db, "p-1", DAYBOOK_DELETE, &p) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(daybook_get_status(db, &status) == DAYBOOK_OK); /* protobuf again */
}

int main(int argc, char **argv)
{
    if (argc < 2 || daybook_open(argv[1], NULL, &db) != DAYBOOK_OK) {
        return 2;
    }
    lossy = argc > 2;
    check_every_field();
    check_expectations();
    check_batch();
    check_read();
    check_errors();
    check_life();
    check_queries();
    check_projections();
    daybook_close(db);
    (void)puts("ok");
    return 0;
}
