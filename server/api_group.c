/* api_group: creating, editing, moving and deleting consumer groups, and what is known of them.
 *
 * A definition is planned in one turn of the groups' thread, committed to the stream `$groups`, and
 * answered in a later turn, which has taken it in. */
#include "server/api_group.h"

#include "projections/catalog.h"
#include "server/ids.h"
#include "server/query.h"
#include "server/router.h"

#include <inttypes.h>
#include <stdio.h>

#define COMMAND_BYTES_MAX ((size_t)4 << 20)
#define ARENA_CHUNK       4096
#define FIELD_MAX         64

/* ---- shared ---- */

struct group_call *api_group_call(struct http_request *rq, struct app *app,
                                  const struct query_parameter *parameters, size_t ctx_bytes)
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    enum encoding encoding;
    if (http_path_segments(rq) > 2 && !catalog_name_is_valid(http_path_segment(rq, 2))) {
        reply_problem_detail(rq, PROBLEM_INVALID_NAME, "group",
                             "a group's name is 1 to %d of letters, digits, '_', '-' and '.', the "
                             "first a letter, a digit or '_'",
                             GROUP_NAME_MAX);
        return NULL;
    }
    if (!query_read(rq, parameters == NULL ? none : parameters) ||
        !reply_negotiate(rq, OFFER(ENCODING_JSON), &encoding)) {
        return NULL;
    }
    struct group_call *c = group_call_new(rq, app, ctx_bytes);
    if (c != NULL) {
        c->group = http_path_segments(rq) > 2 ? http_path_segment(rq, 2) : BYTES_NONE;
        c->job->encoding = encoding;
        buf_init(&c->job->body, GROUP_ANSWER_BYTES_MAX);
    }
    return c;
}

bool api_group_body_is_json(struct http_request *rq)
{
    enum encoding encoding;
    if (!reply_content_type(rq, &encoding)) {
        return false;
    }
    if (encoding != ENCODING_JSON) {
        reply_problem_detail(rq, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "header.Content-Type",
                             "requests about groups are JSON");
        return false;
    }
    return true;
}

enum group_outcome api_group_failed(struct group_call *c, err_t err)
{
    if (err == ERR_NOT_FOUND) {
        job_fail(c->job, PROBLEM_GROUP_NOT_FOUND, "group", "there is no such group");
        return GROUP_ANSWERED;
    }
    c->error = err;
    return GROUP_FAILED;
}

enum group_outcome api_group_answered(struct group_call *c, const struct group_turn *turn)
{
    c->job->position = store_view_position(turn->view);
    err_t err = buf_status(&c->job->body);
    return err == ERR_OK ? GROUP_ANSWERED : api_group_failed(c, err);
}

bool api_group_is_committed(struct group_call *c)
{
    err_t err = c->submitted != ERR_OK ? c->submitted : c->writer_job.error;
    if (err == ERR_OK && command_verdict(c->command) == VERDICT_FAILED) {
        err = command_error(c->command);
    }
    if (err != ERR_OK) {
        job_error(c->job, err, "committing to the log");
        return false;
    }
    return command_verdict(c->command) == VERDICT_COMMITTED;
}

/* ---- what is known ---- */

static err_t put_info(struct buf *b, struct app *app, const struct group_turn *turn,
                      struct group_info info, bool whole)
{
    struct group_report r = {.info = info};
    struct bytes name = bytes_of_string(info.name);
    err_t err = groups_status(turn->groups, name, &r.status);
    if (err != ERR_OK) {
        return err;
    }
    group_put_report(b, &r);
    if (info.settings->push.n > 0) {
        struct push_status pushed = {.state = PUSH_CLOSED}; /* where it has not begun yet */
        (void)push_get_status(app->push, name, &pushed);
        group_put_push_status(b, &pushed);
    }
    if (whole) {
        buf_put_string(b, ",\"consumers\":[");
        for (size_t i = 0; err == ERR_OK && i < r.status.consumers; i++) {
            struct group_consumer consumer;
            buf_put_string(b, i > 0 ? "," : "");
            err = groups_consumer(turn->groups, name, i, &consumer);
            if (err == ERR_OK) {
                group_put_consumer(b, &consumer);
            }
        }
        buf_put_byte(b, ']');
    }
    buf_put_byte(b, '}');
    return err;
}

static enum group_outcome answer_info(struct group_call *c, const struct group_turn *turn)
{
    struct group_info info;
    if (!groups_find(turn->groups, c->group, &info)) {
        return api_group_failed(c, ERR_NOT_FOUND);
    }
    err_t err = put_info(&c->job->body, c->job->app, turn, info, true);
    return err == ERR_OK ? api_group_answered(c, turn) : api_group_failed(c, err);
}

static enum group_outcome run_list(struct group_call *c, const struct group_turn *turn)
{
    struct buf *b = &c->job->body;
    err_t err = ERR_OK;
    buf_put_string(b, "{\"groups\":[");
    for (size_t i = 0; err == ERR_OK && i < groups_count(turn->groups); i++) {
        buf_put_string(b, i > 0 ? "," : "");
        err = put_info(b, c->job->app, turn, groups_at(turn->groups, i), false);
    }
    buf_put_string(b, "]}");
    return err == ERR_OK ? api_group_answered(c, turn) : api_group_failed(c, err);
}

static void submit(struct group_call *c, struct app *app,
                   enum group_outcome (*run)(struct group_call *c, const struct group_turn *turn))
{
    c->run = run;
    groups_submit(app->groups, c);
}

void api_groups_list(struct http_request *rq, struct app *app)
{
    struct group_call *c = api_group_call(rq, app, NULL, 0);
    if (c != NULL) {
        submit(c, app, run_list);
    }
}

void api_group_info(struct http_request *rq, struct app *app)
{
    struct group_call *c = api_group_call(rq, app, NULL, 0);
    if (c != NULL) {
        submit(c, app, answer_info);
    }
}

/* ---- changes ---- */

struct definition {
    enum group_change_kind kind;
    bool replaces; /* PUT: what is not given is the default; else it stays */
    struct group_patch patch;
    struct body_place to; /* SEEKED */
    bool by_time;
    int64_t time_us;
};

static err_t build_command(const struct group_change *change, struct command *command)
{
    struct arena arena;
    struct event_draft draft;
    uint8_t id[UUID_BYTES];
    ids_make(id);
    arena_init(&arena, ARENA_CHUNK, COMMAND_BYTES_MAX);
    err_t err = group_make_event(change, &arena, &draft);
    draft.id = bytes_of(id, sizeof id);
    if (err == ERR_OK) {
        err = command_add_system_append(command, BYTES_LITERAL(GROUPS_STREAM),
                                        (struct expectation){EXPECT_ANY, 0});
    }
    if (err == ERR_OK) {
        err = command_add_event(command, &draft);
    }
    arena_done(&arena);
    return err;
}

static enum group_outcome commit(struct group_call *c, const struct group_change *change)
{
    command_free(c->command);
    c->command = command_new(COMMAND_BYTES_MAX);
    err_t err = c->command == NULL ? ERR_MEMORY : build_command(change, c->command);
    if (err != ERR_OK) {
        job_error(c->job, err, "writing the definition");
        return GROUP_ANSWERED;
    }
    return GROUP_COMMITS;
}

/* "ack_timeout_s must be …": the field is the first word. */
static enum group_outcome refuse_settings(struct group_call *c, const struct err_text *et)
{
    char *field = arena_alloc(http_arena(c->job->rq), FIELD_MAX);
    if (field != NULL) {
        snprintf(field, FIELD_MAX, "%.*s", (int)strcspn(et->text, " "), et->text);
    }
    job_fail(c->job, PROBLEM_INVALID_FIELD, field, "%s", et->text);
    return GROUP_ANSWERED;
}

static uint64_t position_of(struct body_place place, const struct group_turn *turn)
{
    return place.end ? store_view_position(turn->view) : place.position;
}

static enum group_outcome plan_settings(struct group_call *c, const struct group_turn *turn)
{
    struct definition *d = c->ctx;
    struct group_info info;
    struct err_text et = {{0}};
    bool found = groups_find(turn->groups, c->group, &info);
    if (!found && !d->replaces) {
        return api_group_failed(c, ERR_NOT_FOUND);
    }
    if (!found && groups_count(turn->groups) >= GROUPS_MAX) {
        job_fail(c->job, PROBLEM_TOO_MANY_GROUPS, NULL, "there are %d", GROUPS_MAX);
        return GROUP_ANSWERED;
    }
    struct group_settings settings = d->replaces ? group_settings_default() : *info.settings;
    group_patch_apply(&d->patch, &settings);
    if (group_settings_check(&settings, &et) != ERR_OK) {
        return refuse_settings(c, &et);
    }
    c->job->status = found ? 200 : 201;
    return commit(c, &(struct group_change){.kind = GROUP_DEFINED,
                                            .name = c->group,
                                            .settings = &settings,
                                            .position = position_of(d->patch.after, turn)});
}

static enum group_outcome plan_seek(struct group_call *c, const struct group_turn *turn)
{
    struct definition *d = c->ctx;
    struct group_info info;
    if (!groups_find(turn->groups, c->group, &info)) {
        return api_group_failed(c, ERR_NOT_FOUND);
    }
    struct group_change change = {
        .kind = GROUP_SEEKED, .name = c->group, .position = position_of(d->to, turn)};
    if (d->by_time) {
        err_t err = group_position_of_time(turn->view, d->time_us, &change.position);
        if (err != ERR_OK) {
            return api_group_failed(c, err);
        }
    }
    if (change.position > store_view_position(turn->view)) {
        job_fail(c->job, PROBLEM_INVALID_FIELD, "to", "the log ends at position %" PRIu64,
                 store_view_position(turn->view));
        return GROUP_ANSWERED;
    }
    return commit(c, &change);
}

static enum group_outcome plan_deletion(struct group_call *c, const struct group_turn *turn)
{
    struct group_info info;
    if (!groups_find(turn->groups, c->group, &info)) {
        return api_group_failed(c, ERR_NOT_FOUND);
    }
    return commit(c, &(struct group_change){.kind = GROUP_DELETED, .name = c->group});
}

static enum group_outcome run_definition(struct group_call *c, const struct group_turn *turn)
{
    const struct definition *d = c->ctx;
    if (!c->decided) {
        return d->kind == GROUP_DEFINED  ? plan_settings(c, turn)
               : d->kind == GROUP_SEEKED ? plan_seek(c, turn)
                                         : plan_deletion(c, turn);
    }
    if (!api_group_is_committed(c)) {
        return GROUP_ANSWERED;
    }
    if (d->kind == GROUP_DEFINED && (d->patch.secret_given || d->replaces)) {
        err_t err = groups_set_secret(turn->groups, c->group, d->patch.secret);
        if (err != ERR_OK) {
            return api_group_failed(c, err);
        }
    }
    if (d->kind != GROUP_DELETED) {
        return answer_info(c, turn);
    }
    buf_put_string(&c->job->body, "{\"name\":");
    buf_put_json_string(&c->job->body, c->group);
    buf_put_string(&c->job->body, ",\"deleted\":true}");
    return api_group_answered(c, turn);
}

static struct definition *new_definition(struct http_request *rq, struct app *app,
                                         enum group_change_kind kind, struct group_call **ret)
{
    *ret = api_group_call(rq, app, NULL, sizeof(struct definition));
    if (*ret == NULL) {
        return NULL;
    }
    struct definition *d = (*ret)->ctx;
    d->kind = kind;
    (*ret)->defines = true;
    return d;
}

static void define(struct http_request *rq, struct app *app, bool replaces)
{
    struct group_call *c;
    struct definition *d = new_definition(rq, app, GROUP_DEFINED, &c);
    if (d == NULL || !api_group_body_is_json(rq)) {
        return;
    }
    d->replaces = replaces;
    if (group_body_read_patch(rq, replaces, &d->patch)) {
        submit(c, app, run_definition);
    }
}

void api_group_put(struct http_request *rq, struct app *app)
{
    define(rq, app, true);
}

void api_group_patch(struct http_request *rq, struct app *app)
{
    define(rq, app, false);
}

void api_group_delete(struct http_request *rq, struct app *app)
{
    struct group_call *c;
    if (new_definition(rq, app, GROUP_DELETED, &c) != NULL) {
        submit(c, app, run_definition);
    }
}

void api_group_seek(struct http_request *rq, struct app *app)
{
    struct group_call *c;
    bool to = false;
    struct definition *d = new_definition(rq, app, GROUP_SEEKED, &c);
    if (d == NULL || !api_group_body_is_json(rq)) {
        return;
    }
    const struct body_field fields[] = {
        {"to", BODY_PLACE, &d->to, &to},
        {"time", BODY_TIME, &d->time_us, &d->by_time},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (!body_read(rq, http_body(rq), "", fields)) {
        return;
    }
    if (to == d->by_time) {
        reply_problem_detail(rq, to ? PROBLEM_INVALID_FIELD : PROBLEM_MISSING_FIELD, "to",
                             "give one of \"to\" and \"time\"");
        return;
    }
    submit(c, app, run_definition);
}
