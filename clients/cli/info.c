/* info: a stream, or the server. Both are tables of members, printed in one of two ways. */
#include "connect.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OUTPUT_BYTES_MAX ((size_t)64 << 20)

struct member {
    const char *name;
    enum { TEXT, NUMBER, TRUTH, JSON } kind;
    const char *text; /* TEXT, JSON */
    size_t text_n;    /* JSON */
    uint64_t number;  /* NUMBER, TRUTH */
};

static bool add_value(struct daybook_buffer *b, const struct member *m, bool json)
{
    switch (m->kind) {
    case TEXT:
        return json ? text_add_json(b, m->text) : text_add_safe(b, m->text, strlen(m->text));
    case NUMBER:
        return daybook_buffer_add_number(b, m->number);
    case TRUTH:
        return daybook_buffer_add_text(b, m->number ? "true" : "false");
    case JSON:
        return json ? daybook_buffer_add(b, m->text, m->text_n)
                    : text_add_safe(b, m->text, m->text_n);
    }
    return false;
}

static bool add_member(struct daybook_buffer *b, const struct member *m, bool json, bool first)
{
    char left[40];
    if (json) {
        return daybook_buffer_add_byte(b, first ? '{' : ',') && text_add_json(b, m->name) &&
               daybook_buffer_add_byte(b, ':') && add_value(b, m, json);
    }
    (void)snprintf(left, sizeof left, "%-18s", m->name);
    return daybook_buffer_add_text(b, left) && add_value(b, m, json) &&
           daybook_buffer_add_byte(b, '\n');
}

static int print_members(const struct member *members, size_t n, bool json)
{
    struct daybook_buffer b;
    daybook_buffer_init(&b, OUTPUT_BYTES_MAX);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        ok = add_member(&b, &members[i], json, i == 0);
    }
    ok = ok && (!json || daybook_buffer_add_text(&b, "}\n"));
    if (!ok) {
        cli_error("not enough memory");
    } else {
        (void)fwrite(b.p, 1, b.n, stdout);
    }
    daybook_buffer_done(&b);
    return ok ? CLI_OK : CLI_FAILED;
}

static int info_stream(struct daybook *db, const char *stream, bool json)
{
    struct daybook_stream_info s;
    char time[TEXT_TIME_SIZE];
    if (daybook_get_stream(db, stream, &s) != DAYBOOK_OK) {
        return cli_fail(db, stream);
    }
    text_time(s.created_time_us, time);
    const struct member members[] = {
        {.name = "stream", .kind = TEXT, .text = s.stream},
        {.name = "category", .kind = TEXT, .text = s.category},
        {.name = "head_revision", .kind = NUMBER, .number = s.head_revision},
        {.name = "first_revision", .kind = NUMBER, .number = s.first_revision},
        {.name = "events", .kind = NUMBER, .number = s.events},
        {.name = "created_position", .kind = NUMBER, .number = s.created_position},
        {.name = "created_time", .kind = TEXT, .text = time},
        {.name = "deleted", .kind = TRUTH, .number = s.deleted},
        {.name = "metadata",
         .kind = JSON,
         .text = s.metadata.n > 0 ? s.metadata.p : "{}",
         .text_n = s.metadata.n > 0 ? s.metadata.n : 2},
        {.name = "tombstoned", .kind = TRUTH, .number = true},
    };
    size_t n = sizeof members / sizeof members[0];
    return print_members(members, s.tombstoned ? n : n - 1, json);
}

static int info_server(struct daybook *db, bool json)
{
    struct daybook_status s;
    char uptime[40];
    if (daybook_get_status(db, &s) != DAYBOOK_OK) {
        return cli_fail(db, "info");
    }
    int uptime_n = snprintf(uptime, sizeof uptime, "%.3f", s.uptime_s);
    const struct member members[] = {
        {.name = "version", .kind = TEXT, .text = s.version},
        {.name = "store_id", .kind = TEXT, .text = s.store_id},
        {.name = "position", .kind = NUMBER, .number = s.position},
        {.name = "applied_position", .kind = NUMBER, .number = s.applied_position},
        {.name = "streams", .kind = NUMBER, .number = s.streams},
        {.name = "uptime_s", .kind = JSON, .text = uptime, .text_n = (size_t)uptime_n},
        {.name = "data_bytes", .kind = NUMBER, .number = s.data_bytes},
        {.name = "tail_bytes", .kind = NUMBER, .number = s.tail_bytes},
        {.name = "tail_bytes_max", .kind = NUMBER, .number = s.tail_bytes_max},
        {.name = "queue_length", .kind = NUMBER, .number = s.queue_length},
        {.name = "queue_length_max", .kind = NUMBER, .number = s.queue_length_max},
        {.name = "connections", .kind = NUMBER, .number = s.connections},
        {.name = "followers", .kind = NUMBER, .number = s.followers},
        {.name = "follower_lag_events", .kind = NUMBER, .number = s.follower_lag_events},
        {.name = "map_used_bytes", .kind = NUMBER, .number = s.map_used_bytes},
        {.name = "map_bytes", .kind = NUMBER, .number = s.map_bytes},
        {.name = "disk_free_bytes", .kind = NUMBER, .number = s.disk_free_bytes},
        {.name = "memory_bytes", .kind = NUMBER, .number = s.memory_bytes},
        {.name = "disk_full", .kind = TRUTH, .number = s.disk_full},
    };
    return print_members(members, sizeof members / sizeof members[0], json);
}

int cli_info(int argc, char **argv, const struct cli_globals *globals)
{
    bool json = false;
    const struct cli_option options[] = {
        {"json", CLI_FLAG, &json, NULL, "as one JSON object"},
    };
    const struct cli_usage usage = {
        .synopsis = "info [STREAM] [--json]",
        .about = "What is known of a stream; without one, of the server.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_max = 1,
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result != CLI_GO_ON) {
        return result;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    result = arguments[0] != NULL ? info_stream(db, arguments[0], json) : info_server(db, json);
    daybook_close(db);
    return result;
}
