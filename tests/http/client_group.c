/* client_group: what the C client library must do with consumer groups, with a real server.
 * test_client_group.py compiles it and runs it: client_group URL. */
#include "clients/c/daybook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct daybook *db;

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

static void append(const char *stream, const char *type, const void *data, size_t n,
                   const char *content_type)
{
    static const char *const tags[] = {"a", "b \"q\" \xc3\xa9"};
    struct daybook_new_event event = {.type = type,
                                      .data = {data, n},
                                      .metadata = {"{ \"m\":1.0}", 10},
                                      .content_type = content_type,
                                      .tags = tags,
                                      .tags_n = 2,
                                      .occurred_at = "2026-01-01T00:00:00Z",
                                      .schema_version = 7};
    struct daybook_appended a;
    CHECK(daybook_append(db, stream, any, &event, 1, &a) == DAYBOOK_OK);
}

static struct daybook_fetched fetch(unsigned max)
{
    const struct daybook_fetch f = {.group = "g", .consumer = "c-1", .max = max};
    struct daybook_fetched fetched;
    CHECK(daybook_group_fetch(db, &f, &fetched) == DAYBOOK_OK);
    return fetched;
}

static void check_definition(void)
{
    static const char *const types[] = {"T", "U"};
    static const double initial_s = 0;
    const struct daybook_group *list;
    size_t n;
    struct daybook_group g;
    struct daybook_group_settings s = {.types = {types, 2},
                                       .ordering = "none",
                                       .ack_timeout_s = 45.5,
                                       .max_attempts = 2,
                                       .backoff_initial_s = &initial_s};
    CHECK(daybook_group_get(db, "g", &g) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(daybook_group_get(db, "", &g) == DAYBOOK_ERR_ARGUMENT);
    CHECK(daybook_group_define(db, "g", &s, "start", &g) == DAYBOOK_OK && g.created);
    CHECK(g.types.n == 2 && strcmp(g.types.items[1], "U") == 0 && g.tags.n == 0);
    CHECK(g.ack_timeout_s > 45.4 && g.ack_timeout_s < 45.6 && g.backoff_initial_s <= 0);
    CHECK(g.max_attempts == 2 && g.max_in_flight == 1000 && !g.paused);
    CHECK(daybook_group_define(db, "g", &s, NULL, &g) == DAYBOOK_OK && !g.created);
    s = (struct daybook_group_settings){.paused = DAYBOOK_ON};
    CHECK(daybook_group_edit(db, "g", &s, &g) == DAYBOOK_OK && g.paused && g.types.n == 2);
    s = (struct daybook_group_settings){.paused = DAYBOOK_OFF, .set_filter = true};
    CHECK(daybook_group_edit(db, "g", &s, &g) == DAYBOOK_OK && !g.paused && g.types.n == 0);
    CHECK(daybook_group_list(db, &list, &n) == DAYBOOK_OK && n == 1);
    CHECK(strcmp(list[0].name, "g") == 0 && list[0].consumers_n == 0 && list[0].head > 0);
    s = (struct daybook_group_settings){.ordering = "random"};
    CHECK(daybook_group_edit(db, "g", &s, &g) == DAYBOOK_ERR_REJECTED);
    CHECK(strcmp(daybook_problem(db)->field, "ordering") == 0);
}

/* Every field of an event comes through, byte for byte. */
static void check_fetch_and_ack(void)
{
    static const uint8_t bytes[] = {0, 255, '\n', '"'};
    append("s/1 \xc3\xa9", "T", "{\"n\": 1.10,\n\"x\":[]}", 19, NULL);
    append("s-2", "T", bytes, sizeof bytes, "image/png");
    struct daybook_fetched f = fetch(10);
    CHECK(f.deliveries_n == 2 && f.lease_until_us > 1700000000000000);
    const struct daybook_event *e = &f.deliveries[0].event;
    CHECK(f.deliveries[0].attempt == 1 && !f.deliveries[0].replay);
    CHECK(strcmp(e->stream, "s/1 \xc3\xa9") == 0 && e->data.n == 19);
    CHECK(memcmp(e->data.p, "{\"n\": 1.10,\n\"x\":[]}", 19) == 0);
    CHECK(e->metadata.n == 10 && memcmp(e->metadata.p, "{ \"m\":1.0}", 10) == 0);
    CHECK(e->tags_n == 2 && strcmp(e->tags[1], "b \"q\" \xc3\xa9") == 0);
    CHECK(e->schema_version == 7 && strcmp(e->occurred_at, "2026-01-01T00:00:00Z") == 0);
    e = &f.deliveries[1].event;
    CHECK(e->data.n == sizeof bytes && memcmp(e->data.p, bytes, sizeof bytes) == 0);
    CHECK(strcmp(e->content_type, "image/png") == 0 && e->time_us > 1700000000000000);
    char kept[2][40];
    const char *leases[] = {kept[0], kept[1]};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(kept[i], sizeof kept[i], "%s", f.deliveries[i].lease);
    }
    struct daybook_leases both = {"g", leases, 2}, second = {"g", leases + 1, 1};
    int64_t until_us = 0;
    CHECK(daybook_group_extend(db, &both, 100, &until_us) == DAYBOOK_OK && until_us > 0);
    CHECK(daybook_group_ack(db, &second) == DAYBOOK_OK);
    CHECK(daybook_group_ack(db, &both) == DAYBOOK_ERR_LEASE_LOST);
    CHECK(daybook_problem(db)->leases_n == 1);
    CHECK(strcmp(daybook_problem(db)->leases[0], kept[1]) == 0);
    struct daybook_leases first = {"g", leases, 1};
    CHECK(daybook_group_ack(db, &first) == DAYBOOK_OK);
    CHECK(fetch(10).deliveries_n == 0);
}

/* Both or neither: a conflict leaves the lease as it is, and says of which stream it was. */
static void check_ack_with_append(void)
{
    static const char *const tags[] = {"t"};
    const struct daybook_appended *results;
    size_t n;
    append("s-3", "T", "1", 1, NULL);
    struct daybook_fetched f = fetch(1);
    CHECK(f.deliveries_n == 1);
    char lease[40];
    const char *leases[] = {lease};
    (void)snprintf(lease, sizeof lease, "%s", f.deliveries[0].lease);
    const struct daybook_leases one = {"g", leases, 1};
    const struct daybook_new_event out = {.type = "Out",
                                          .data = {"\0\1\2\3", 4},
                                          .content_type = "application/octet-stream",
                                          .tags = tags,
                                          .tags_n = 1};
    struct daybook_batch *batch = daybook_batch_new(db);
    CHECK(daybook_batch_append(batch, "out-1", (struct daybook_expect){DAYBOOK_REVISION, 5}, &out,
                               1) == DAYBOOK_OK);
    CHECK(daybook_group_ack_append(db, &one, batch, &results, &n) == DAYBOOK_ERR_CONFLICT);
    const struct daybook_problem *p = daybook_problem(db);
    CHECK(p->violations_n == 1 && strcmp(p->violations[0].stream, "out-1") == 0);
    CHECK(strcmp(p->violations[0].expected, "5") == 0 && p->violations[0].actual == 0);
    daybook_batch_clear(batch);
    CHECK(daybook_batch_append(batch, "out-1", (struct daybook_expect){DAYBOOK_NO_STREAM, 0}, &out,
                               1) == DAYBOOK_OK);
    CHECK(daybook_group_ack_append(db, &one, batch, &results, &n) == DAYBOOK_OK && n == 1);
    CHECK(strcmp(results[0].stream, "out-1") == 0 && results[0].last_revision == 1);
    CHECK(daybook_group_ack(db, &one) == DAYBOOK_ERR_LEASE_LOST);
    const struct daybook_event *e = NULL;
    CHECK(daybook_get_event(db, "out-1", 1, &e) == DAYBOOK_OK && e->data.n == 4);
    CHECK(memcmp(e->data.p, "\0\1\2\3", 4) == 0 && strcmp(e->tags[0], "t") == 0);
    daybook_batch_free(batch);
    f = fetch(10); /* the output is an event as well */
    CHECK(f.deliveries_n == 1 && strcmp(f.deliveries[0].event.type, "Out") == 0);
    const char *last[] = {f.deliveries[0].lease};
    CHECK(daybook_group_ack(db, &(struct daybook_leases){"g", last, 1}) == DAYBOOK_OK);
}

static void nack(enum daybook_nack_action action, const char *reason, uint64_t parked)
{
    uint64_t now_parked = 99;
    struct daybook_fetched f = fetch(1);
    CHECK(f.deliveries_n == 1);
    const char *leases[] = {f.deliveries[0].lease};
    static const double at_once = 0;
    const struct daybook_nack n = {.action = action, .delay_s = &at_once, .reason = reason};
    CHECK(daybook_group_nack(db, &(struct daybook_leases){"g", leases, 1}, &n, &now_parked) ==
          DAYBOOK_OK);
    CHECK(now_parked == parked);
}

static void check_parked(void)
{
    struct daybook_parked_list list;
    struct daybook_selection all = {.dry_run = true};
    struct daybook_group g;
    uint64_t n = 0, gone = 9;
    append("s-4", "T", "1", 1, NULL);
    nack(DAYBOOK_RETRY, "first \"try\"", 0);
    nack(DAYBOOK_RETRY, "second \xc3\xa9\n", 1);
    append("s-5", "T", "2", 1, NULL);
    nack(DAYBOOK_PARK, NULL, 1);
    append("s-6", "T", "3", 1, NULL);
    nack(DAYBOOK_SKIP_EVENT, "not for us", 0);
    CHECK(daybook_group_parked(db, "g", 0, 1, &list) == DAYBOOK_OK);
    CHECK(list.parked_n == 1 && !list.end && list.next == list.parked[0].position);
    CHECK(strcmp(list.parked[0].cause, "attempts") == 0 && list.parked[0].attempts == 2);
    CHECK(strcmp(list.parked[0].reason, "second \xc3\xa9\n") == 0);
    CHECK(strcmp(list.parked[0].consumer, "c-1") == 0);
    CHECK(strcmp(list.parked[0].event.stream, "s-4") == 0 && !list.parked[0].gone);
    uint64_t first = list.next;
    CHECK(daybook_group_parked(db, "g", first, 0, &list) == DAYBOOK_OK);
    CHECK(list.parked_n == 1 && list.end && strcmp(list.parked[0].cause, "nack") == 0);
    CHECK(daybook_group_replay(db, "g", &all, &n, &gone) == DAYBOOK_OK && n == 2 && gone == 0);
    const struct daybook_selection one = {.position = first};
    CHECK(daybook_group_replay(db, "g", &one, &n, NULL) == DAYBOOK_OK && n == 1);
    struct daybook_fetched f = fetch(10);
    CHECK(f.deliveries_n == 1 && f.deliveries[0].replay && f.deliveries[0].attempt == 1);
    CHECK(daybook_group_discard(db, "g", first, &n) == DAYBOOK_ERR_NOT_FOUND);
    CHECK(daybook_group_discard(db, "g", 0, &n) == DAYBOOK_OK && n == 1);
    CHECK(daybook_group_get(db, "g", &g) == DAYBOOK_OK && g.skipped == 1 && g.in_flight == 1);
    CHECK(g.consumers_n == 1 && strcmp(g.consumers[0].name, "c-1") == 0);
    CHECK(daybook_group_seek(db, "g", "end", NULL, &g) == DAYBOOK_OK && g.lag_events == 0);
    CHECK(daybook_group_seek(db, "g", NULL, "2020-01-01T00:00:00Z", &g) == DAYBOOK_OK);
    CHECK(g.position == 0 && g.lag_events > 5);
    CHECK(daybook_group_seek(db, "g", "2", NULL, &g) == DAYBOOK_OK && g.position >= 2);
}

int main(int argc, char **argv)
{
    if (argc != 2 || daybook_open(argv[1], NULL, &db) != DAYBOOK_OK) {
        return 2;
    }
    check_definition();
    check_fetch_and_ack();
    check_ack_with_append();
    check_parked();
    CHECK(daybook_group_delete(db, "g") == DAYBOOK_OK);
    CHECK(daybook_group_delete(db, "g") == DAYBOOK_ERR_NOT_FOUND);
    daybook_close(db);
    (void)printf("ok\n");
    return 0;
}
