/* projection_json: see projection_json.h. What stands at the top is the version that clients read;
 * while none has caught up, the one that is being built. */
#include "server/projection_json.h"

#include "server/json.h"

#include <inttypes.h>

static void put_text(struct buf *b, const char *name, const char *value)
{
    buf_put_format(b, ",\"%s\":", name);
    buf_put_json_string(b, bytes_of_string(value));
}

static void put_fault(struct buf *b, const struct version_status *v)
{
    buf_put_string(b, ",\"error\":{");
    if (v->fault_position > 0) {
        buf_put_format(b, "\"position\":%" PRIu64 ",", v->fault_position);
    }
    buf_put_string(b, "\"detail\":");
    buf_put_json_string(b, bytes_of_string(v->fault));
    buf_put_byte(b, '}');
}

static void put_version(struct buf *b, const struct version_status *v)
{
    buf_put_format(b, "\"version\":%" PRIu64 ",\"state\":\"%s\",\"position\":%" PRIu64, v->version,
                   runner_state_name(v->state), v->position);
    buf_put_format(b, ",\"lag_events\":%" PRIu64 ",\"lag_seconds\":%.3f,\"events_per_second\":%.0f",
                   v->lag_events, (double)v->lag_us / 1e6, v->events_per_second);
    if (v->eta_s >= 0) {
        buf_put_format(b, ",\"eta_seconds\":%.1f", v->eta_s);
    } else {
        buf_put_string(b, ",\"eta_seconds\":null");
    }
    if (v->stalled_us > 0) {
        buf_put_format(b, ",\"stalled_seconds\":%.1f", (double)v->stalled_us / 1e6);
    }
    if (v->failing != NULL) {
        put_text(b, "trying_again_after", v->failing);
    }
    if (v->state == RUNNER_FAULTED) {
        put_fault(b, v);
    }
}

void projection_json_put(struct buf *b, const struct projection_status *s, struct bytes source)
{
    bool serves = s->serving.version != 0;
    buf_put_string(b, "{\"name\":");
    buf_put_json_string(b, bytes_of_string(s->name));
    put_text(b, "kind", s->kind);
    buf_put_byte(b, ',');
    put_version(b, serves ? &s->serving : &s->building);
    buf_put_format(b, ",\"on_error\":\"%s\",\"attempts\":%u",
                   s->policy.set_aside ? "set_aside" : "stop", s->policy.attempts);
    if (s->defined_us > 0) {
        buf_put_string(b, ",\"defined\":");
        json_put_time(b, s->defined_us);
    }
    if (s->previous != 0) {
        buf_put_format(b, ",\"previous_version\":%" PRIu64, s->previous);
    }
    if (serves && s->building.version != 0) {
        buf_put_string(b, ",\"building\":{");
        put_version(b, &s->building);
        buf_put_byte(b, '}');
    }
    if (source.p != NULL) {
        buf_put_string(b, ",\"source\":");
        buf_put_json_string(b, source);
    }
    buf_put_byte(b, '}');
}
