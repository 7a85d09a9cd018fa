/* metadata: shows what is kept of a stream and what its owner notes about it, or changes it. */
#include "connect.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES ((size_t)1 << 20)

struct metadata_options {
    const char *max_count, *max_age, *custom, *expect;
    bool json;
};

static int read_change(const struct metadata_options *o, struct daybook_metadata_change *ret);
static bool parse_seconds(const char *text, uint64_t *ret);
static int show(struct daybook *db, const char *stream, bool json);

int cli_metadata(int argc, char **argv, const struct cli_globals *globals)
{
    struct metadata_options o = {0};
    const struct cli_option options[] = {
        {"max-count", CLI_TEXT, &o.max_count, "N|none", "keep only the newest N events"},
        {"max-age", CLI_TEXT, &o.max_age, "AGE|none", "keep only events so old: 90s, 12h, 30d, 4w"},
        {"custom", CLI_TEXT, &o.custom, "JSON|none", "an object of your own, at most 16 KiB"},
        {"expect", CLI_TEXT, &o.expect, "E", "any (default), stream_exists, or the head revision"},
        {"json", CLI_FLAG, &o.json, NULL, "as one JSON object"},
    };
    const struct cli_usage usage = {
        .synopsis = "metadata STREAM [--max-count N] [--max-age AGE] [--custom JSON]",
        .about =
            "Shows a stream's limits and notes, after it has changed those that are given.\n"
            "What is over a limit is hidden from every read, at once and for ever; its space\n"
            "is freed in the background. \"none\" removes a limit; what it hid stays hidden.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    struct daybook_metadata_change change = {0};
    struct daybook_expect expect;
    struct daybook_changed changed;
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? cli_parse_expect(o.expect, &expect) : exit;
    exit = exit == CLI_GO_ON ? read_change(&o, &change) : exit;
    if (exit != CLI_GO_ON) {
        return exit;
    }
    bool changes = change.set_max_count || change.set_max_age || change.set_custom;
    if (!changes && o.expect != NULL) {
        cli_error("--expect guards a change, and there is none");
        return CLI_USAGE;
    }
    struct daybook *db = cli_connect(globals, NULL);
    if (db == NULL) {
        return CLI_FAILED;
    }
    bool ok =
        !changes || daybook_set_metadata(db, arguments[0], expect, &change, &changed) == DAYBOOK_OK;
    exit = ok ? show(db, arguments[0], o.json) : cli_fail(db, "metadata");
    daybook_close(db);
    return exit;
}

static bool is_none(const char *text)
{
    return strcmp(text, "none") == 0;
}

static int read_change(const struct metadata_options *o, struct daybook_metadata_change *ret)
{
    if (o->max_count != NULL) {
        ret->set_max_count = true;
        if (!is_none(o->max_count) &&
            (!cli_parse_number(o->max_count, &ret->max_count) || ret->max_count == 0)) {
            cli_error("--max-count must be a whole number from 1, or none, not %s", o->max_count);
            return CLI_USAGE;
        }
    }
    if (o->max_age != NULL) {
        ret->set_max_age = true;
        if (!is_none(o->max_age) && !parse_seconds(o->max_age, &ret->max_age_s)) {
            cli_error("--max-age must be like 90s, 45m, 12h, 30d or 4w, or none, not %s",
                      o->max_age);
            return CLI_USAGE;
        }
    }
    if (o->custom != NULL) {
        ret->set_custom = true;
        if (!is_none(o->custom)) {
            ret->custom = (struct daybook_bytes){o->custom, strlen(o->custom)};
        }
    }
    return CLI_GO_ON;
}

/* "30d"; without a unit it would be a guess. */
static bool parse_seconds(const char *text, uint64_t *ret)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    char digits[24];
    uint64_t number = 0;
    size_t n = strlen(text);
    if (n < 2 || n > sizeof digits) {
        return false;
    }
    memcpy(digits, text, n - 1);
    digits[n - 1] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (text[n - 1] == units[i].unit && cli_parse_number(digits, &number) && number > 0 &&
            number <= UINT64_MAX / units[i].seconds) {
            *ret = number * units[i].seconds;
            return true;
        }
    }
    return false;
}

static bool add_limit(struct daybook_buffer *b, const char *name, uint64_t value)
{
    char line[64];
    if (value == 0) {
        (void)snprintf(line, sizeof line, "%-18snone\n", name);
    } else {
        (void)snprintf(line, sizeof line, "%-18s%" PRIu64 "\n", name, value);
    }
    return daybook_buffer_add_text(b, line);
}

static int show(struct daybook *db, const char *stream, bool json)
{
    struct daybook_stream_info s;
    struct daybook_buffer b;
    if (daybook_get_stream(db, stream, &s) != DAYBOOK_OK) {
        return cli_fail(db, "metadata");
    }
    struct daybook_bytes custom =
        s.custom.n > 0 ? s.custom : (struct daybook_bytes){.p = "none", .n = 4};
    daybook_buffer_init(&b, LINE_BYTES);
    bool ok = json ? daybook_buffer_add(&b, s.metadata.p, s.metadata.n) &&
                         daybook_buffer_add_byte(&b, '\n')
                   : add_limit(&b, "max_count", s.max_count) &&
                         add_limit(&b, "max_age_s", s.max_age_s) &&
                         add_limit(&b, "truncate_before", s.truncate_before) &&
                         daybook_buffer_add_text(&b, "custom            ") &&
                         text_add_safe(&b, custom.p, custom.n) && daybook_buffer_add_byte(&b, '\n');
    if (ok) {
        (void)fwrite(b.p, 1, b.n, stdout);
    } else {
        cli_error("not enough memory");
    }
    daybook_buffer_done(&b);
    return ok ? CLI_OK : CLI_FAILED;
}
