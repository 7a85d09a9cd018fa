/* read: cursors over a stream or the global log, forward and backward, filtered by the postings.
 *
 * A stream is one source. The global log without a filter is every position. With filters, each
 * kind of filter is a dimension: the union of the sources of its names; the read leapfrogs over the
 * dimensions until all stand at the same position, so that no record is touched that does not
 * match. A prefix of few streams is the union of those streams; one of many is looked up by
 * category and the name checked on the record, in bounded portions (ERR_FULL). */
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/hide.h"
#include "storage/range.h"
#include "storage/record.h"

/* How many records that do not match one call may look at before it gives the thread back. */
#define SKIPPED_MAX 20000

struct dimension {
    struct source *sources;
    uint64_t *at; /* current position of each source; 0: exhausted, UINT64_MAX: not sought yet */
    size_t n;
};

/* Types, categories, prefixes, tags, and each of all_tags by itself. */
#define DIMENSIONS_MAX (4 + EVENT_TAGS_MAX)

struct store_read {
    struct store_view *view;
    struct store_query query;
    uint64_t place;
    uint64_t first, last; /* the numbers in which there can be something */
    bool started, ended;
    struct source *stream; /* of a stream read */
    struct dimension dimensions[DIMENSIONS_MAX];
    size_t dimension_count;
    bool check_prefixes; /* the prefixes must be checked on the record */
    bool nothing;        /* a filter's names have no event at all */
};

/* ---- dimensions ---- */

#define NOT_SOUGHT UINT64_MAX

static void dimension_done(struct dimension *d)
{
    for (size_t i = 0; i < d->n; i++) {
        source_close(&d->sources[i]);
    }
    free(d->sources);
    free(d->at);
    *d = (struct dimension){0};
}

/* Opens the sources of names that have events; names that have none are left out. */
static err_t dimension_init(struct dimension *d, struct store_view *v, enum name_kind kind,
                            const struct bytes *names, size_t n)
{
    size_t room = n > 0 ? n : 1;
    d->sources = malloc(room * sizeof *d->sources);
    d->at = malloc(room * sizeof *d->at);
    if (d->sources == NULL || d->at == NULL) {
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < n; i++) {
        err_t err = source_open(&d->sources[d->n], v, kind, names[i]);
        if (err == ERR_OK) {
            d->at[d->n++] = NOT_SOUGHT;
        } else if (err != ERR_NOT_FOUND) {
            return err;
        }
    }
    return ERR_OK;
}

/* Whether `a` comes at or after `b` in the direction of the read. */
static bool reached(uint64_t a, uint64_t b, bool backward)
{
    return backward ? a <= b : a >= b;
}

/* The dimension's first position at or after (backward: at or before) `position`; adds to *steps
 * what it cost. ERR_END. */
static err_t dimension_seek(struct dimension *d, uint64_t position, bool backward, size_t *steps,
                            uint64_t *ret)
{
    uint64_t best = 0;
    for (size_t i = 0; i < d->n; i++) {
        bool sought = d->at[i] != NOT_SOUGHT;
        if (sought && d->at[i] != 0 && !reached(d->at[i], position, backward)) {
            sought = false;
        }
        if (!sought) {
            err_t err = source_seek(&d->sources[i], position, backward, &d->at[i]);
            ++*steps;
            if (err == ERR_END) {
                d->at[i] = 0;
            } else if (err != ERR_OK) {
                return err;
            }
        }
        if (d->at[i] != 0 && (best == 0 || !reached(d->at[i], best, backward))) {
            best = d->at[i];
        }
    }
    if (best == 0) {
        return ERR_END;
    }
    *ret = best;
    return ERR_OK;
}

static err_t add_dimension(struct store_read *r, enum name_kind kind, const struct bytes *names,
                           size_t n)
{
    CHECK(r->dimension_count < DIMENSIONS_MAX);
    struct dimension *d = &r->dimensions[r->dimension_count++];
    err_t err = dimension_init(d, r->view, kind, names, n);
    r->nothing = r->nothing || (err == ERR_OK && d->n == 0);
    return err;
}

/* ---- prefixes ---- */

struct name_set {
    struct store_name_list lists[STORE_FILTER_MAX];
    size_t list_count;
    struct bytes names[STORE_FILTER_MAX];
    size_t n;
};

static void name_set_done(struct name_set *set)
{
    for (size_t i = 0; i < set->list_count; i++) {
        store_name_list_done(&set->lists[i]);
    }
}

/* Whether the name is covered by an earlier prefix too: then it is in the set already. */
static bool is_covered(const struct store_filter *f, size_t before, struct bytes name)
{
    for (size_t i = 0; i < before; i++) {
        if (bytes_have_prefix(name, f->prefixes[i])) {
            return true;
        }
    }
    return false;
}

/* All names of a kind that start with one of the prefixes (`cut`: with the prefix's category, for
 * kind CATEGORIES); ERR_LIMIT: more than the set takes. */
static err_t collect_names(struct store_view *v, const struct store_filter *f,
                           enum store_names kind, struct name_set *ret)
{
    for (size_t i = 0; i < f->prefix_count; i++) {
        struct store_name_list *list = &ret->lists[ret->list_count];
        struct store_list_query q = {
            .kind = kind, .prefix = f->prefixes[i], .limit = STORE_FILTER_MAX, .system = true};
        err_t err = store_list_names(v, &q, list);
        if (err != ERR_OK) {
            return err;
        }
        ret->list_count++;
        if (!list->end) {
            return ERR_LIMIT;
        }
        for (size_t k = 0; k < list->n; k++) {
            if (is_covered(f, i, list->items[k].name)) {
                continue;
            }
            if (ret->n == STORE_FILTER_MAX) {
                return ERR_LIMIT;
            }
            ret->names[ret->n++] = list->items[k].name;
        }
    }
    return ERR_OK;
}

/* The categories that the prefixes' streams can be in: of "order-1" it is "order", of "ord" all
 * that start so. ERR_LIMIT: too many, or the streams may be in no category. */
static err_t collect_categories(struct store_view *v, const struct store_filter *f,
                                struct name_set *ret)
{
    struct bytes prefixes[STORE_FILTER_MAX];
    struct store_filter categories = {.prefixes = prefixes};
    for (size_t i = 0; i < f->prefix_count; i++) {
        struct bytes category = event_category(f->prefixes[i]);
        if (category.n == 0) {
            return ERR_LIMIT;
        }
        if (category.n == f->prefixes[i].n) {
            prefixes[categories.prefix_count++] = category;
        } else if (ret->n < STORE_FILTER_MAX) {
            ret->names[ret->n++] = category;
        } else {
            return ERR_LIMIT;
        }
    }
    return collect_names(v, &categories, STORE_CATEGORIES, ret);
}

static err_t prefix_dimension(struct store_read *r, struct name_set *set)
{
    err_t err = collect_names(r->view, &r->query.filter, STORE_STREAMS, set);
    if (err == ERR_OK) {
        return add_dimension(r, NAME_STREAM, set->names, set->n);
    }
    if (err != ERR_LIMIT) {
        return err;
    }
    r->check_prefixes = true;
    name_set_done(set);
    *set = (struct name_set){0};
    err = collect_categories(r->view, &r->query.filter, set);
    if (err == ERR_LIMIT) {
        return ERR_OK; /* so many that the log itself is read */
    }
    return err == ERR_OK ? add_dimension(r, NAME_CATEGORY, set->names, set->n) : err;
}

static err_t open_prefixes(struct store_read *r)
{
    if (r->query.filter.prefix_count == 0) {
        return ERR_OK;
    }
    struct name_set *set = calloc(1, sizeof *set);
    if (set == NULL) {
        return ERR_MEMORY;
    }
    err_t err = prefix_dimension(r, set);
    name_set_done(set);
    free(set);
    return err;
}

/* ---- opening ---- */

static err_t open_names(struct store_read *r, enum name_kind kind, const struct bytes *names,
                        size_t n)
{
    CHECK(n <= STORE_FILTER_MAX);
    return n == 0 ? ERR_OK : add_dimension(r, kind, names, n);
}

static uint64_t dimension_count(const struct dimension *d)
{
    uint64_t n = 0;
    for (size_t i = 0; i < d->n; i++) {
        n += source_count(&d->sources[i]);
    }
    return n;
}

/* The rarest first: where it has nothing more, the blocks of the others are never looked at. */
static void sort_dimensions(struct store_read *r)
{
    uint64_t counts[DIMENSIONS_MAX];
    for (size_t i = 0; i < r->dimension_count; i++) {
        struct dimension moved = r->dimensions[i];
        uint64_t count = dimension_count(&moved);
        size_t k = i;
        for (; k > 0 && counts[k - 1] > count; k--) {
            r->dimensions[k] = r->dimensions[k - 1];
            counts[k] = counts[k - 1];
        }
        r->dimensions[k] = moved;
        counts[k] = count;
    }
}

static err_t open_dimensions(struct store_read *r)
{
    const struct store_filter *f = &r->query.filter;
    CHECK(f->all_tag_count <= EVENT_TAGS_MAX);
    err_t err = open_names(r, NAME_TYPE, f->types, f->type_count);
    if (err == ERR_OK) {
        err = open_names(r, NAME_CATEGORY, f->categories, f->category_count);
    }
    if (err == ERR_OK) {
        err = open_names(r, NAME_TAG, f->tags, f->tag_count);
    }
    for (size_t i = 0; i < f->all_tag_count && err == ERR_OK && !r->nothing; i++) {
        err = add_dimension(r, NAME_TAG, &f->all_tags[i], 1);
    }
    err = err == ERR_OK && !r->nothing ? open_prefixes(r) : err;
    if (err == ERR_OK) {
        sort_dimensions(r);
    }
    return err;
}

static err_t open_stream(struct store_read *r)
{
    r->stream = malloc(sizeof *r->stream);
    if (r->stream == NULL) {
        return ERR_MEMORY;
    }
    struct stream_window window;
    err_t err = source_open(r->stream, r->view, NAME_STREAM, r->query.stream);
    if (err == ERR_OK) {
        err = view_window(r->view, r->query.stream, source_count(r->stream), &window);
    }
    if (err == ERR_OK) {
        r->first = window.first;
        err = window.deleted ? ERR_GONE : ERR_OK;
    }
    return err;
}

static uint64_t last_number(const struct store_read *r)
{
    return r->stream != NULL ? source_count(r->stream) : r->view->tail.position;
}

/* Numbers that the query's place excludes are not searched. */
static err_t set_range(struct store_read *r)
{
    const struct store_query *q = &r->query;
    uint64_t low = q->backward || q->from == UINT64_MAX ? 1 : q->from + 1;
    uint64_t high = last_number(r);
    if (q->backward && q->from > 0 && q->from <= high) {
        high = q->from - 1;
    }
    low = low > r->first ? low : r->first;
    r->last = high;
    err_t err = ERR_OK;
    if (q->filter.since_us > 0) {
        err = range_find(r->view, r->stream, low, high, q->filter.since_us, &r->first);
    }
    if (err == ERR_OK && q->filter.until_us > 0) {
        low = low > r->first ? low : r->first;
        err = range_find(r->view, r->stream, low, high, q->filter.until_us, &r->last);
        r->last--;
    }
    return err;
}

err_t store_read_open(struct store_view *v, const struct store_query *q, struct store_read **ret)
{
    struct store_read *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return ERR_MEMORY;
    }
    r->view = v;
    r->query = *q;
    r->place = q->from;
    r->first = 1;
    err_t err = q->stream.n > 0 ? open_stream(r) : open_dimensions(r);
    if (err == ERR_OK) {
        err = set_range(r);
    }
    if (err != ERR_OK) {
        store_read_close(r);
        return err;
    }
    *ret = r;
    return ERR_OK;
}

void store_read_close(struct store_read *r)
{
    if (r == NULL) {
        return;
    }
    if (r->stream != NULL) {
        source_close(r->stream);
        free(r->stream);
    }
    for (size_t i = 0; i < r->dimension_count; i++) {
        dimension_done(&r->dimensions[i]);
    }
    free(r);
}

uint64_t store_read_place(const struct store_read *r)
{
    return r->place;
}

/* ---- moving ---- */

static err_t at_end(struct store_read *r)
{
    r->ended = true;
    if (r->query.backward) {
        r->place = 1;
    } else if (r->place < last_number(r)) {
        r->place = last_number(r);
    }
    return ERR_END;
}

/* The number (revision or position) to look at next; 0: there is none. */
static uint64_t next_number(const struct store_read *r)
{
    uint64_t next;
    if (!r->query.backward) {
        next = r->place < r->first ? r->first : r->place + 1;
        return next <= r->last ? next : 0;
    }
    next = r->place == 0 || r->place > r->last + 1 ? r->last : r->place - 1;
    return next >= r->first ? next : 0;
}

/* Moves all dimensions to the first position at or after `position` that they have in common. */
static err_t leapfrog(struct store_read *r, uint64_t position, uint64_t *ret)
{
    size_t steps = 0;
    for (size_t agreed = 0, i = 0; agreed < r->dimension_count; i = (i + 1) % r->dimension_count) {
        if (++steps > SKIPPED_MAX) {
            r->place = r->query.backward ? position + 1 : position - 1;
            return ERR_FULL;
        }
        uint64_t found;
        err_t err = dimension_seek(&r->dimensions[i], position, r->query.backward, &steps, &found);
        if (err != ERR_OK) {
            return err;
        }
        agreed = found == position ? agreed + 1 : 1;
        position = found;
    }
    *ret = position;
    return position < r->first || position > r->last ? ERR_END : ERR_OK;
}

/* The position of the next candidate; sets the place to its number. */
static err_t next_position(struct store_read *r, uint64_t *ret)
{
    uint64_t number = next_number(r);
    if (number == 0 || r->nothing || r->ended) {
        return at_end(r);
    }
    err_t err;
    if (r->stream == NULL) {
        err = leapfrog(r, number, ret);
        if (err == ERR_OK) {
            r->place = *ret;
        }
    } else {
        err = r->started ? source_step(r->stream, r->query.backward, ret)
                         : source_seek_revision(r->stream, number, ret);
        if (err == ERR_OK) {
            r->place = number;
        }
    }
    r->started = err == ERR_OK;
    return err == ERR_END ? at_end(r) : err;
}

/* A list says where a record is, the record itself whose it is: where they differ the index is
 * damaged, and what it leads to may be hidden. */
static err_t confirm(struct bytes body, struct bytes stream, uint64_t revision)
{
    struct record_head head;
    err_t err = record_peek(body, &head);
    bool same = err == ERR_OK && head.revision == revision && bytes_equal(head.stream, stream);
    return err != ERR_OK || same ? err : ERR_CORRUPT;
}

/* Of a stream all that is hidden lies before its first revision. */
static err_t hides(const struct store_read *r, const struct store_record *record, uint32_t flags,
                   bool *ret)
{
    if (r->stream != NULL) {
        *ret = (flags & RECORD_GONE) != 0;
        return *ret ? ERR_OK : confirm(record->body, r->query.stream, r->place);
    }
    return view_hides(r->view, record->body, flags, ret);
}

/* What the postings did not settle is looked up in the record, and what they did is confirmed by
 * it. */
static err_t matches(const struct store_read *r, const struct store_record *record, uint32_t flags,
                     bool *ret)
{
    const struct store_filter *f = &r->query.filter;
    bool check_types = r->stream != NULL && f->type_count > 0, hidden = true;
    bool wanted = (flags & RECORD_SYSTEM) == 0 || f->system;
    err_t err = wanted ? hides(r, record, flags, &hidden) : ERR_OK;
    *ret = !hidden;
    bool settled = !check_types && !r->check_prefixes;
    if (err != ERR_OK || hidden || (settled && r->dimension_count == 0)) {
        return err;
    }
    struct event event;
    err = store_record_decode(record, &event);
    if (err == ERR_OK) {
        *ret = store_filter_matches(f, &event);
        err = *ret || !settled ? ERR_OK : ERR_CORRUPT;
    }
    return err;
}

err_t store_read_next(struct store_read *r, struct store_record *ret)
{
    for (int skipped = 0; skipped < SKIPPED_MAX; skipped++) {
        uint64_t position;
        uint32_t flags;
        bool match = false;
        err_t err = next_position(r, &position);
        if (err == ERR_OK) {
            ret->position = position;
            err = view_record(r->view, position, &ret->body, &flags);
        }
        if (err == ERR_OK) {
            err = matches(r, ret, flags, &match);
        }
        if (err != ERR_OK || match) {
            return err;
        }
    }
    return ERR_FULL;
}

err_t store_get_stream_event(struct store_view *v, struct bytes stream, uint64_t revision,
                             struct store_record *ret)
{
    struct source *s = malloc(sizeof *s);
    if (s == NULL) {
        return ERR_MEMORY;
    }
    uint64_t position;
    struct stream_window window;
    err_t err = source_open(s, v, NAME_STREAM, stream);
    if (err == ERR_OK) {
        err = view_window(v, stream, source_count(s), &window);
    }
    if (err == ERR_OK && window.deleted) {
        err = ERR_GONE;
    }
    if (err == ERR_OK) {
        bool there = revision >= window.first && revision <= source_count(s);
        err = there ? source_seek_revision(s, revision, &position) : ERR_NOT_FOUND;
    }
    source_close(s);
    free(s);
    if (err == ERR_OK) {
        err = store_get_event(v, position, ret);
    }
    return err == ERR_OK ? confirm(ret->body, stream, revision) : err;
}
