/* projection_text: what is known of projections, for people. */
#include "projection_int.h"
#include "table.h"
#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define BAR              24
#define OUTPUT_BYTES_MAX ((size_t)256 << 20)

static size_t put(char *line, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds to a line; what does not fit is cut. */
static size_t put(char *line, size_t at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line + at, PROJECTION_LINE_BYTES - at, format, arguments);
    va_end(arguments);
    size_t room = PROJECTION_LINE_BYTES - 1 - at;
    return at + (n < 0 ? 0 : (size_t)n < room ? (size_t)n : room);
}

static size_t put_progress(char *line, size_t at, const struct daybook_projection_version *v)
{
    char bar[BAR + 1];
    uint64_t all = v->position + v->lag_events;
    double part = all == 0 ? 1 : (double)v->position / (double)all;
    size_t done = (size_t)(part * BAR);
    memset(bar, '.', BAR);
    memset(bar, '#', done < BAR ? done : BAR);
    bar[BAR] = '\0';
    at = put(line, at, " [%s] %.0f %%, %.0f events/s", bar, part * 100, v->events_per_s);
    return v->eta_s < 0 ? at : put(line, at, ", %.0f s left", v->eta_s);
}

void projection_describe(const struct daybook_projection_version *v,
                         char ret[PROJECTION_LINE_BYTES])
{
    size_t at = put(ret, 0, "version %" PRIu64 " %s", v->version, v->state);
    if (strcmp(v->state, "building") == 0) {
        at = put_progress(ret, at, v);
    } else {
        at = put(ret, at, " at position %" PRIu64 ", %" PRIu64 " event%s behind", v->position,
                 v->lag_events, v->lag_events == 1 ? "" : "s");
    }
    if (v->lag_events > 0 && strcmp(v->state, "live") == 0) {
        at = put(ret, at, " (%.1f s)", v->lag_s);
    }
    if (v->stalled_s > 0) {
        at = put(ret, at, ", one step runs for %.0f s already", v->stalled_s);
    }
    if (v->error_position > 0) {
        at = put(ret, at, ": event %" PRIu64, v->error_position);
    }
    if (v->error[0] != '\0') {
        (void)put(ret, at, ": %s", v->error);
    }
}

int projection_print_rows(const struct daybook_rows *rows)
{
    struct daybook_buffer out;
    daybook_buffer_init(&out, OUTPUT_BYTES_MAX);
    bool ok = table_add_text(&out, rows);
    if (ok) {
        (void)fwrite(out.p, 1, out.n, stdout);
    } else {
        cli_error("not enough memory");
    }
    daybook_buffer_done(&out);
    return ok ? CLI_OK : CLI_FAILED;
}

int projection_print_json(const struct daybook *db)
{
    struct daybook_bytes json = daybook_json(db);
    (void)printf("%.*s\n", (int)json.n, (const char *)json.p);
    return CLI_OK;
}

const struct daybook_projection_version *projection_desired(const struct daybook_projection *p)
{
    return p->building.version != 0 ? &p->building : &p->current;
}
