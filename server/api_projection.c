/* api_projection: defining projections and giving them orders, and what is known of them.
 *
 * A change is planned, committed to the stream `$projections` and acted on by one thread at a time,
 * as a job, since checking a script and opening a model take longer than an event loop may. */
#include "server/api_projection.h"

#include "server/codec_projection.h"
#include "server/ids.h"
#include "server/projection_json.h"
#include "server/query.h"
#include "server/router.h"
#include "storage/base/check.h"

#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>

#define ANSWER_BYTES_MAX  ((size_t)16 << 20)
#define COMMAND_BYTES_MAX ((size_t)64 << 20)
#define ARENA_CHUNK       4096

/* What a request asks to change. */
struct change_request {
    enum catalog_change_kind kind;
    bool rebuild; /* DEFINED, with the source that is there */
    struct bytes name;
    struct catalog_definition definition;
    bool unchanged; /* nothing has to be committed */
};

bool api_projection_name(struct http_request *rq, bool changes, struct bytes *ret)
{
    struct bytes name = http_path_segment(rq, 2);
    bool system = event_name_is_system(name);
    struct bytes bare = system ? bytes_of(name.p + 1, name.n - 1) : name;
    if (!catalog_name_is_valid(bare)) {
        reply_problem_detail(rq, PROBLEM_INVALID_NAME, "name",
                             "a projection's name is 1 to %d of letters, digits, '_', '-' and '.', "
                             "the first a letter, a digit or '_'",
                             CATALOG_NAME_MAX);
        return false;
    }
    if (system && changes) {
        reply_problem_detail(rq, PROBLEM_RESERVED_NAME, "name",
                             "projections whose name starts with '$' are built in");
        return false;
    }
    *ret = name;
    return true;
}

struct projection *api_projection_find(struct http_request *rq, struct app *app, struct bytes name)
{
    struct projection_status status;
    struct projection *p = workers_find(app->workers, name);
    if (p == NULL || !workers_get_status(app->workers, p, &status)) {
        reply_problem(rq, PROBLEM_PROJECTION_NOT_FOUND, &(struct problem_extra){.field = "name"});
        return NULL;
    }
    return p;
}

/* ---- what is known ---- */

void api_projections_list(struct http_request *rq, struct app *app)
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    enum encoding encoding;
    if (!query_read(rq, none) || !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    struct buf b;
    struct projection *p;
    bool any = false, json = encoding == ENCODING_JSON;
    buf_init(&b, ANSWER_BYTES_MAX);
    buf_put_string(&b, json ? "{\"projections\":[" : "");
    for (size_t i = 0; (p = workers_at(app->workers, i)) != NULL; i++) {
        struct projection_status status;
        if (!workers_get_status(app->workers, p, &status)) {
            continue;
        }
        if (json) {
            buf_put_string(&b, any ? "," : "");
            projection_json_put(&b, &status, BYTES_NONE);
        } else {
            codec_put_projection_entry(&b, &status);
        }
        any = true;
    }
    buf_put_string(&b, json ? "]}" : "");
    reply_body(rq, 200, encoding, store_position(app->store), &b);
}

/* The position of an answer about a projection is how far its model is. */
static uint64_t position_of(const struct projection_status *s)
{
    return s->serving.version != 0 ? s->serving.position : s->building.position;
}

static void put_whole(struct buf *b, enum encoding encoding, struct app *app, struct projection *p,
                      const struct projection_status *status)
{
    struct buf source;
    buf_init(&source, COMMAND_BYTES_MAX);
    bool has_source = workers_get_source(app->workers, p, &source);
    struct bytes text = has_source ? bytes_of(source.p, source.n) : BYTES_NONE;
    if (encoding == ENCODING_PROTOBUF) {
        codec_put_projection(b, status, text);
    } else {
        projection_json_put(b, status, text);
    }
    buf_done(&source);
}

void api_projection_info(struct http_request *rq, struct app *app)
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    enum encoding encoding;
    struct bytes name;
    struct projection_status status;
    if (!api_projection_name(rq, false, &name) || !query_read(rq, none) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    struct projection *p = api_projection_find(rq, app, name);
    if (p == NULL) {
        return;
    }
    struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    (void)workers_get_status(app->workers, p, &status);
    put_whole(&b, encoding, app, p, &status);
    reply_body(rq, 200, encoding, position_of(&status), &b);
}

/* The answer to a change: what the projection is now. */
static void answer_status(struct job *job, struct bytes name)
{
    struct projection_status status;
    struct projection *p = workers_find(job->app->workers, name);
    buf_init(&job->body, ANSWER_BYTES_MAX);
    if (p == NULL || !workers_get_status(job->app->workers, p, &status)) {
        if (job->encoding == ENCODING_PROTOBUF) {
            codec_put_projection_deleted(&job->body, name);
        } else {
            buf_put_string(&job->body, "{\"name\":");
            buf_put_json_string(&job->body, name);
            buf_put_string(&job->body, ",\"deleted\":true}");
        }
        job->position = store_position(job->app->store);
        return;
    }
    put_whole(&job->body, job->encoding, job->app, p, &status);
    job->position = position_of(&status);
}

/* ---- committing a change ---- */

struct commit {
    struct writer_job job;
    sem_t decided;
};

static void on_decided(struct writer_job *job)
{
    struct commit *c = (struct commit *)job; /* its first member */
    sem_post(&c->decided);
}

static void commit_command(struct job *job, struct command *command)
{
    struct commit c = {.job = {.command = command, .decided = on_decided}};
    sem_init(&c.decided, 0, 0);
    err_t err = writer_submit(job->app->writer, &c.job);
    if (err == ERR_OK) {
        while (sem_wait(&c.decided) != 0) {
        }
        err = c.job.error;
    }
    sem_destroy(&c.decided);
    if (err == ERR_OK && command_verdict(command) != VERDICT_COMMITTED) {
        err = command_verdict(command) == VERDICT_FAILED ? command_error(command) : ERR_BUSY;
    }
    if (err != ERR_OK) {
        job_error(job, err, "committing the definition");
    }
}

static err_t make_command(const struct catalog *catalog, const struct catalog_change *change,
                          struct arena *arena, struct command *command)
{
    struct event_draft draft;
    uint8_t id[UUID_BYTES];
    ids_make(id);
    err_t err = catalog_make_event(change, arena, &draft);
    draft.id = bytes_of(id, sizeof id);
    if (err == ERR_OK) {
        err = command_add_system_append(
            command, BYTES_LITERAL(CATALOG_STREAM),
            (struct expectation){EXPECT_REVISION, catalog_revision(catalog)});
    }
    return err == ERR_OK ? command_add_event(command, &draft) : err;
}

static void commit_change(struct job *job, const struct catalog *catalog,
                          const struct catalog_change *change)
{
    struct arena arena;
    arena_init(&arena, ARENA_CHUNK, ANSWER_BYTES_MAX);
    struct command *command = command_new(COMMAND_BYTES_MAX);
    err_t err = command == NULL ? ERR_MEMORY : make_command(catalog, change, &arena, command);
    if (err == ERR_OK) {
        commit_command(job, command);
    } else {
        job_error(job, err, "writing the definition");
    }
    command_free(command);
    arena_done(&arena);
}

/* ---- planning ---- */

static bool is_same_definition(const struct catalog_definition *a,
                               const struct catalog_definition *b)
{
    return a->kind == b->kind && bytes_equal(a->source, b->source) &&
           a->policy.set_aside == b->policy.set_aside && a->policy.attempts == b->policy.attempts;
}

/* A new version, with the next number. */
static void plan_definition(struct change_request *c, const struct catalog *catalog,
                            struct catalog_change *ret, unsigned *ret_status)
{
    const struct catalog_projection *any = catalog_find_any(catalog, c->name);
    const struct catalog_projection *p = catalog_find(catalog, c->name);
    const struct catalog_definition *now = p == NULL ? NULL : catalog_version(p, p->desired);
    if (c->rebuild) {
        CHECK(now != NULL); /* plan() has looked */
        c->definition = *now;
    } else if (now != NULL && is_same_definition(now, &c->definition)) {
        c->unchanged = true;
    }
    *ret_status = now == NULL ? 201 : 200;
    ret->version = any == NULL ? 1 : any->last + 1;
    ret->definition = &c->definition;
}

static bool plan_rollback(struct job *job, struct bytes name, struct catalog_change *ret)
{
    struct projection_status status;
    struct projection *p = workers_find(job->app->workers, name);
    if (p == NULL || !workers_get_status(job->app->workers, p, &status) || status.previous == 0) {
        job_fail(job, PROBLEM_WRONG_PROJECTION_STATE, "name",
                 "there is no version that has served before");
        return false;
    }
    ret->version = status.previous;
    return true;
}

static bool has_room(struct job *job, const struct catalog *catalog)
{
    size_t there = 0, max = job->app->limits.projections_max;
    for (size_t i = 0; i < catalog_count(catalog); i++) {
        there += !catalog_at(catalog, i)->deleted;
    }
    if (there >= max) {
        job_fail(job, PROBLEM_TOO_MANY_PROJECTIONS, "name", "there are %zu (projections-max)",
                 there);
    }
    return there < max;
}

static bool plan(struct job *job, const struct catalog *catalog, struct catalog_change *ret)
{
    struct change_request *c = job->ctx;
    const struct catalog_projection *p = catalog_find(catalog, c->name);
    bool creates = c->kind == CATALOG_DEFINED && !c->rebuild;
    *ret = (struct catalog_change){.kind = c->kind, .name = c->name};
    if (p == NULL && !creates) {
        job_fail(job, PROBLEM_PROJECTION_NOT_FOUND, "name", "there is no such projection");
        return false;
    }
    if (p == NULL && !has_room(job, catalog)) {
        return false;
    }
    switch (c->kind) {
    case CATALOG_DEFINED:
        plan_definition(c, catalog, ret, &job->status);
        return true;
    case CATALOG_ROLLED_BACK:
        return plan_rollback(job, c->name, ret);
    case CATALOG_PAUSED:
    case CATALOG_RESUMED:
        c->unchanged = p->paused == (c->kind == CATALOG_PAUSED);
        return true;
    case CATALOG_DELETED:
    case CATALOG_CHANGE_COUNT:
        break;
    }
    return true;
}

/* Resuming is for what is paused, and for what is faulted, which is no definition. */
static void retry_faulted(struct job *job, struct bytes name)
{
    struct err_text et = {0};
    struct projection *p = workers_find(job->app->workers, name);
    err_t err = p == NULL ? ERR_INVALID : workers_retry(job->app->workers, p, &et);
    if (err == ERR_INVALID) {
        job_fail(job, PROBLEM_WRONG_PROJECTION_STATE, "name", "it is neither paused nor faulted");
    } else if (err != ERR_OK) {
        job_error(job, err, "resuming the projection");
    }
}

static void run_change(struct job *job)
{
    struct change_request *c = job->ctx;
    struct catalog_change change;
    const struct catalog *catalog = workers_begin_change(job->app->workers);
    if (plan(job, catalog, &change) && !c->unchanged) {
        commit_change(job, catalog, &change);
        err_t err = job->answer == JOB_BODY ? workers_refresh(job->app->workers) : ERR_OK;
        if (err != ERR_OK) {
            job_error(job, err, "opening the read model");
        }
    }
    workers_end_change(job->app->workers);
    if (job->answer == JOB_BODY && c->unchanged && c->kind == CATALOG_RESUMED) {
        retry_faulted(job, c->name);
    }
    if (job->answer == JOB_BODY) {
        answer_status(job, c->name);
    }
}

/* ---- defining ---- */

/* Whether the script is one: it is opened in memory. */
static void run_definition(struct job *job)
{
    struct change_request *c = job->ctx;
    struct model *m;
    struct err_text et = {0};
    err_t err = model_open(c->definition.kind, NULL, c->definition.source, &m, &et);
    if (err == ERR_OK) {
        model_close(m);
        run_change(job);
    } else if (err == ERR_INVALID) {
        job_fail(job, PROBLEM_INVALID_PROJECTION, "body", "%s", et.text);
    } else {
        job_error(job, err, "checking the definition");
    }
}

struct put_options {
    struct bytes on_error;
    struct query_number attempts, limit;
    bool dry_run;
};

static bool read_policy(struct http_request *rq, const struct put_options *o,
                        struct runner_policy *ret)
{
    bool set_aside = bytes_equal(o->on_error, BYTES_LITERAL("set_aside"));
    if (o->on_error.n > 0 && !set_aside && !bytes_equal(o->on_error, BYTES_LITERAL("stop"))) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.on_error",
                             "must be \"stop\" or \"set_aside\"");
        return false;
    }
    if (o->attempts.value > CATALOG_ATTEMPTS_MAX) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.attempts", "must be at most %d",
                             CATALOG_ATTEMPTS_MAX);
        return false;
    }
    ret->set_aside = set_aside;
    ret->attempts = o->attempts.given ? (unsigned)o->attempts.value : 1;
    return true;
}

static bool read_source(struct http_request *rq, struct app *app, struct catalog_definition *ret)
{
    ret->kind = model_kind_of_media(http_header(rq, "Content-Type"));
    ret->source = http_body(rq);
    if (ret->kind == NULL) {
        reply_problem(rq, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                      &(struct problem_extra){
                          .field = "header.Content-Type",
                          .hint = "send application/sql for a table projection or text/x-lua for "
                                  "a document projection"});
        return false;
    }
    if (ret->source.n > app->limits.event_bytes_max) {
        reply_problem_detail(rq, PROBLEM_EVENT_TOO_LARGE, "body",
                             "a definition may have %zu bytes (event-bytes-max)",
                             app->limits.event_bytes_max);
        return false;
    }
    return true;
}

void api_projection_put(struct http_request *rq, struct app *app)
{
    struct put_options o = {0};
    const struct query_parameter parameters[] = {
        {"on_error", QUERY_NAME, &o.on_error},
        {"attempts", QUERY_POSITIVE, &o.attempts},
        {"dry_run", QUERY_FLAG, &o.dry_run},
        {"limit", QUERY_POSITIVE, &o.limit},
        {NULL, QUERY_FLAG, NULL},
    };
    enum encoding encoding;
    struct change_request read = {.kind = CATALOG_DEFINED};
    if (!api_projection_name(rq, true, &read.name) || !query_read(rq, parameters) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding) ||
        !read_policy(rq, &o, &read.definition.policy) || !read_source(rq, app, &read.definition)) {
        return;
    }
    if (o.dry_run) {
        api_projection_dry_run(rq, app, &read.definition, o.limit.value, encoding);
        return;
    }
    if (o.limit.given) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit", "is for dry_run=true");
        return;
    }
    struct job *job = job_new(rq, app, sizeof read);
    if (job != NULL) {
        memcpy(job->ctx, &read, sizeof read);
        job->encoding = encoding;
        job->run = run_definition;
        jobs_submit(app->jobs, job);
    }
}

/* ---- orders ---- */

static void submit_order(struct http_request *rq, struct app *app, enum catalog_change_kind kind,
                         bool rebuild, void (*run)(struct job *job))
{
    static const struct query_parameter none[] = {{NULL, QUERY_FLAG, NULL}};
    enum encoding encoding;
    struct bytes name;
    if (!api_projection_name(rq, true, &name) || !query_read(rq, none) ||
        !reply_negotiate(rq, API_PROJECTION_OFFER, &encoding)) {
        return;
    }
    struct job *job = job_new(rq, app, sizeof(struct change_request));
    if (job != NULL) {
        struct change_request *c = job->ctx;
        *c = (struct change_request){.kind = kind, .rebuild = rebuild, .name = name};
        job->encoding = encoding;
        job->run = run;
        jobs_submit(app->jobs, job);
    }
}

void api_projection_delete(struct http_request *rq, struct app *app)
{
    submit_order(rq, app, CATALOG_DELETED, false, run_change);
}

void api_projection_pause(struct http_request *rq, struct app *app)
{
    submit_order(rq, app, CATALOG_PAUSED, false, run_change);
}

void api_projection_resume(struct http_request *rq, struct app *app)
{
    submit_order(rq, app, CATALOG_RESUMED, false, run_change);
}

void api_projection_rebuild(struct http_request *rq, struct app *app)
{
    submit_order(rq, app, CATALOG_DEFINED, true, run_change);
}

void api_projection_rollback(struct http_request *rq, struct app *app)
{
    submit_order(rq, app, CATALOG_ROLLED_BACK, false, run_change);
}

static void run_skip(struct job *job)
{
    struct change_request *c = job->ctx;
    struct err_text et = {0};
    struct projection_status status;
    struct projection *p = workers_find(job->app->workers, c->name);
    if (p == NULL || !workers_get_status(job->app->workers, p, &status)) {
        job_fail(job, PROBLEM_PROJECTION_NOT_FOUND, "name", "there is no such projection");
        return;
    }
    err_t err = workers_skip(job->app->workers, p, &et);
    if (err == ERR_INVALID) {
        job_fail(job, PROBLEM_WRONG_PROJECTION_STATE, "name", "it is not faulted at an event");
    } else if (err != ERR_OK) {
        job_error(job, err, "skipping the event");
    } else {
        answer_status(job, c->name);
    }
}

void api_projection_skip(struct http_request *rq, struct app *app)
{
    submit_order(rq, app, CATALOG_CHANGE_COUNT, false, run_skip);
}
