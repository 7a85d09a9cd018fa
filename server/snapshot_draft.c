/* snapshot_draft: what must hold for a snapshot whatever it was encoded in. */
#include "server/snapshot_draft.h"

#include "server/draft.h"
#include "server/json.h"

#include <stdarg.h>
#include <stdio.h>

bool snapshot_reject(struct snapshot_draft *d, enum problem problem, const char *field,
                     const char *format, ...)
{
    va_list arguments;
    d->problem = problem;
    d->field = field;
    va_start(arguments, format);
    vsnprintf(d->detail, sizeof d->detail, format, arguments);
    va_end(arguments);
    return false;
}

static bool check_data(struct snapshot_draft *d, size_t bytes_max)
{
    struct snapshot *s = &d->snapshot;
    const char *field = d->data == SNAPSHOT_DATA_BASE64 ? "data_base64" : "data";
    char detail[JSON_DETAIL_MAX];
    bool is_json = event_content_is_json(s->content_type);
    if (d->data == SNAPSHOT_DATA_NONE) {
        return snapshot_reject(d, PROBLEM_MISSING_FIELD, is_json ? "data" : "data_base64",
                               "it is required: the state");
    }
    if (!is_json && d->data == SNAPSHOT_DATA_JSON) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, "data",
                               "content_type is not JSON: send data_base64 instead of data");
    }
    if (is_json && d->data != SNAPSHOT_DATA_JSON && !json_check(s->data, false, detail)) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, field,
                               "content_type is JSON but the data is not: %s", detail);
    }
    return s->data.n <= bytes_max ||
           snapshot_reject(d, PROBLEM_SNAPSHOT_TOO_LARGE, field,
                           "it has %zu bytes; the limit (snapshot-bytes-max) is %zu", s->data.n,
                           bytes_max);
}

bool snapshot_check(struct snapshot_draft *d, struct bytes stream, size_t bytes_max)
{
    const struct snapshot *s = &d->snapshot;
    if (d->stream.p != NULL && !bytes_equal(d->stream, stream)) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, "stream",
                               "it is not the stream of the path");
    }
    if (!d->revision_given) {
        return snapshot_reject(d, PROBLEM_MISSING_FIELD, "revision",
                               "it is required: the revision of the last event in the state");
    }
    if (s->revision == 0 || s->revision > INT64_MAX) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, "revision", "must be an integer from 1");
    }
    if (s->name.n > 0 && !event_name_is_valid(s->name)) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, "name",
                               "must be at most %d bytes of UTF-8 without control characters",
                               EVENT_NAME_MAX);
    }
    if (s->content_type.n > 0 && !draft_media_type_is_valid(s->content_type)) {
        return snapshot_reject(d, PROBLEM_INVALID_FIELD, "content_type",
                               "must be a media type such as application/json, at most %d bytes",
                               EVENT_MEDIA_MAX);
    }
    return check_data(d, bytes_max);
}
