/* api_group_parked: the parked events of a group: looked at, replayed, discarded. */
#include "server/api_group.h"
#include "server/router.h"

#include <inttypes.h>

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000

/* ---- looking ---- */

struct page_request {
    struct query_number after, limit;
};

struct page_answer {
    struct buf *b;
    size_t n;
    uint64_t next;
};

static err_t put_parked(void *ctx, const struct group_parked *parked)
{
    struct page_answer *a = ctx;
    buf_put_string(a->b, a->n++ > 0 ? "," : "");
    a->next = parked->position;
    return group_put_parked(a->b, parked);
}

static enum group_outcome run_page(struct group_call *c, const struct group_turn *turn)
{
    const struct page_request *p = c->ctx;
    struct page_answer a = {.b = &c->job->body, .next = p->after.value};
    const struct group_parked_page page = {
        .group = c->group, .after = p->after.value, .limit = p->limit.value};
    bool end = false;
    buf_put_string(a.b, "{\"parked\":[");
    err_t err = groups_parked(turn->groups, &page, put_parked, &a, &end);
    if (err != ERR_OK) {
        return api_group_failed(c, err);
    }
    buf_put_format(a.b, "],\"next\":%" PRIu64 ",\"end\":%s}", a.next, end ? "true" : "false");
    return api_group_answered(c, turn);
}

void api_group_parked(struct http_request *rq, struct app *app)
{
    struct page_request p = {.limit.value = PAGE_DEFAULT};
    const struct query_parameter parameters[] = {{"after", QUERY_NUMBER, &p.after},
                                                 {"limit", QUERY_POSITIVE, &p.limit},
                                                 {NULL, QUERY_FLAG, NULL}};
    struct group_call *c = api_group_call(rq, app, parameters, sizeof p);
    if (c == NULL) {
        return;
    }
    if (p.limit.value > PAGE_MAX) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "query.limit", "must be at most %d",
                             PAGE_MAX);
        return;
    }
    memcpy(c->ctx, &p, sizeof p);
    c->run = run_page;
    groups_submit(app->groups, c);
}

/* ---- replaying, discarding ---- */

struct selection_request {
    struct group_selection selection;
    struct store_filter filter;
    bool one; /* by the path or by "position": it must be there */
    bool discards;
    bool dry_run;
};

static enum group_outcome run_selection(struct group_call *c, const struct group_turn *turn)
{
    struct selection_request *r = c->ctx;
    struct group_selected sum = {0};
    r->selection.dry_run = r->dry_run;
    uint64_t from = r->selection.from;
    do {
        struct group_selected part = {0};
        err_t err = r->discards ? groups_discard(turn->groups, &r->selection, &part)
                                : groups_replay(turn->groups, &r->selection, &part);
        if (err != ERR_OK) {
            return api_group_failed(c, err);
        }
        sum.count += part.count;
        sum.gone += part.gone;
        r->selection.from = sum.next = part.next;
    } while (sum.next != 0);
    r->selection.from = from;
    if (r->one && sum.count + sum.gone == 0) {
        job_fail(c->job, PROBLEM_EVENT_NOT_FOUND, "position",
                 "the event at position %" PRIu64 " is not parked", from);
        return GROUP_ANSWERED;
    }
    if (r->discards) {
        buf_put_format(&c->job->body, "{\"discarded\":%" PRIu64, sum.count);
    } else {
        buf_put_format(&c->job->body, "{\"replayed\":%" PRIu64 ",\"gone\":%" PRIu64, sum.count,
                       sum.gone);
    }
    buf_put_format(&c->job->body, ",\"dry_run\":%s}", r->dry_run ? "true" : "false");
    return api_group_answered(c, turn);
}

static void submit(struct group_call *c, struct app *app)
{
    struct selection_request *r = c->ctx;
    r->selection.group = c->group;
    c->run = run_selection;
    groups_submit(app->groups, c);
}

void api_group_replay(struct http_request *rq, struct app *app)
{
    struct group_call *c = api_group_call(rq, app, NULL, sizeof(struct selection_request));
    if (c == NULL || !api_group_body_is_json(rq)) {
        return;
    }
    struct selection_request *r = c->ctx;
    struct bytes filter = BYTES_NONE;
    bool ranged = false;
    uint64_t position = 0;
    const struct body_field fields[] = {
        {"position", BODY_COUNT, &position, &r->one},
        {"from", BODY_COUNT, &r->selection.from, &ranged},
        {"to", BODY_COUNT, &r->selection.to, &ranged},
        {"filter", BODY_OBJECT, &filter, NULL},
        {"dry_run", BODY_FLAG, &r->dry_run, NULL},
        {NULL, BODY_TEXT, NULL, NULL},
    };
    if (!body_read(rq, http_body(rq), "", fields) ||
        !group_body_read_filter(rq, filter, "filter.", &r->filter)) {
        return;
    }
    if (r->one && ranged) {
        reply_problem_detail(rq, PROBLEM_INVALID_FIELD, "position",
                             "give either \"position\" or \"from\" and \"to\"");
        return;
    }
    if (r->one) {
        r->selection.from = r->selection.to = position;
    }
    r->selection.filter = filter.n > 0 ? &r->filter : NULL;
    submit(c, app);
}

static void discard(struct http_request *rq, struct app *app, bool one)
{
    bool dry_run = false;
    const struct query_parameter parameters[] = {{one ? NULL : "dry_run", QUERY_FLAG, &dry_run},
                                                 {NULL, QUERY_FLAG, NULL}};
    struct group_call *c = api_group_call(rq, app, parameters, sizeof(struct selection_request));
    if (c == NULL) {
        return;
    }
    struct selection_request *r = c->ctx;
    r->discards = true;
    r->dry_run = dry_run;
    r->one = one;
    if (one && (!query_parse_number(http_path_segment(rq, 4), &r->selection.from) ||
                r->selection.from == 0)) {
        reply_problem_detail(rq, PROBLEM_INVALID_PARAMETER, "path.position",
                             "must be a position, in digits");
        return;
    }
    r->selection.to = r->selection.from;
    submit(c, app);
}

void api_group_discard(struct http_request *rq, struct app *app)
{
    discard(rq, app, true);
}

void api_group_discard_all(struct http_request *rq, struct app *app)
{
    discard(rq, app, false);
}
