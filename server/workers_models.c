/* workers_models: which models a projection has open, and which directories are on disk.
 *
 * A projection's directories are DIR/models/NAME@VERSION. Kept are the version that serves, the one
 * that is being built, and the one that served before, to roll back to; all others are removed. A
 * model says itself whether it has served, and the how-manieth it was, so that after a crash
 * between any two steps the same choice is made again. */
#include "server/workers_int.h"

#include "server/log.h"
#include "storage/base/check.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

err_t models_dir(const struct workers *w, const char *name, uint64_t version,
                 char ret[WORKERS_PATH_MAX])
{
    int n = snprintf(ret, WORKERS_PATH_MAX, "%s/models/%s@%" PRIu64, w->options.dir, name, version);
    return n > 0 && n < WORKERS_PATH_MAX ? ERR_OK : ERR_LIMIT;
}

err_t models_make_dir(const struct workers *w, struct err_text *et)
{
    char path[WORKERS_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/models", w->options.dir);
    if (n <= 0 || (size_t)n >= sizeof path) {
        return ERR_LIMIT;
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return err_set(et, err_from_errno(errno), "cannot make %s: %s", path, strerror(errno));
    }
    return ERR_OK;
}

/* ---- removing ---- */

static bool keeps(const struct projection *p, uint64_t version)
{
    return !p->deleted && (version == p->serving.version || version == p->building.version ||
                           version == p->previous);
}

static void remove_dir(const struct workers *w, const char *entry)
{
    char path[WORKERS_PATH_MAX + NAME_MAX];
    snprintf(path, sizeof path, "%s/models/%s", w->options.dir, entry);
    err_t err = model_remove(path);
    if (err != ERR_OK) {
        log_line(LOG_LEVEL_WARN, "cannot remove a read model's directory", log_text("path", path),
                 log_text("error", err_name(err)));
    }
}

/* "name@12"; false: it is something else. */
static bool split_entry(const char *entry, struct bytes *ret_name, uint64_t *ret_version)
{
    const char *at = strrchr(entry, '@');
    char *end;
    if (at == NULL || at[1] < '1' || at[1] > '9') {
        return false;
    }
    *ret_name = bytes_of(entry, (size_t)(at - entry));
    *ret_version = strtoull(at + 1, &end, 10);
    return *end == '\0';
}

/* Calls `wanted` for each directory of a model; those that are not are removed. */
static void remove_where(struct workers *w,
                         bool (*unwanted)(struct workers *w, void *ctx, struct bytes name,
                                          uint64_t version),
                         void *ctx)
{
    char path[WORKERS_PATH_MAX];
    snprintf(path, sizeof path, "%s/models", w->options.dir);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct bytes name;
        uint64_t version;
        if (split_entry(entry->d_name, &name, &version) && unwanted(w, ctx, name, version)) {
            remove_dir(w, entry->d_name);
        }
    }
    closedir(dir);
}

static bool is_old_version(struct workers *w, void *ctx, struct bytes name, uint64_t version)
{
    (void)w;
    const struct projection *p = ctx;
    return bytes_equal(name, bytes_of_string(p->name)) && !keeps(p, version);
}

static bool is_nobodys(struct workers *w, void *ctx, struct bytes name, uint64_t version)
{
    (void)ctx;
    const struct projection *p = workers_find(w, name);
    return p == NULL || !keeps(p, version);
}

void models_clean(struct workers *w)
{
    remove_where(w, is_nobodys, NULL);
}

/* ---- opening and closing ---- */

static void close_readers(struct workers *w, struct projection *p, uint64_t next_version)
{
    struct reader *readers[WORKERS_READERS_MAX];
    pthread_mutex_lock(&w->mutex);
    size_t n = p->reader_count;
    memcpy(readers, p->readers, n * sizeof *readers);
    p->reader_count = 0;
    p->readers_version = next_version;
    pthread_mutex_unlock(&w->mutex);
    for (size_t i = 0; i < n; i++) {
        reader_close(readers[i]);
    }
}

static void close_part(struct workers *w, struct part *part)
{
    struct runner *runner = part->runner;
    pthread_mutex_lock(&w->mutex);
    *part = (struct part){0};
    pthread_mutex_unlock(&w->mutex);
    runner_free(runner);
}

void models_close(struct workers *w, struct projection *p)
{
    close_part(w, &p->serving);
    close_part(w, &p->building);
    close_readers(w, p, 0);
}

/* A model that is ahead of the log is one of another time: the store was put back from a backup. */
static err_t open_current(const struct workers *w, const char *dir,
                          const struct catalog_definition *d, struct model **ret,
                          struct err_text *et)
{
    struct model *m;
    err_t err = model_open(d->kind, dir, d->source, &m, et);
    if (err != ERR_OK) {
        return err;
    }
    if (model_checkpoint(m) > store_position(w->options.store)) {
        model_close(m);
        return err_set(et, ERR_CORRUPT, "the read model is ahead of the log");
    }
    *ret = m;
    return ERR_OK;
}

/* A damaged file is no loss: what was in it is in the log. */
static err_t open_model(const struct workers *w, const char *name, const char *dir,
                        const struct catalog_definition *d, struct model **ret, struct err_text *et)
{
    err_t err = open_current(w, dir, d, ret, et);
    if (err != ERR_CORRUPT && err != ERR_FORMAT) {
        return err;
    }
    log_line(LOG_LEVEL_WARN, "a read model is damaged and is built again",
             log_text("projection", name), log_number("version", (int64_t)d->version),
             log_text("detail", et->text));
    *et = (struct err_text){0};
    err = model_remove(dir);
    return err == ERR_OK ? model_open(d->kind, dir, d->source, ret, et) : err;
}

static err_t open_runner(struct workers *w, struct projection *p,
                         const struct catalog_definition *d, struct runner **ret,
                         struct err_text *et)
{
    char dir[WORKERS_PATH_MAX];
    struct model *m = NULL;
    err_t err = models_dir(w, p->name, d->version, dir);
    if (err == ERR_OK) {
        err = open_model(w, p->name, dir, d, &m, et);
    }
    return err == ERR_OK ? runner_new(m, &d->policy, ret) : err;
}

/* A version that cannot be opened is shown as faulted; the error is no reason not to serve the
 * others. */
static void open_part(struct workers *w, struct projection *p, const struct catalog_definition *d,
                      struct part *part)
{
    struct err_text et = {0};
    struct part opened = {.version = d->version, .kind = d->kind};
    err_t err = open_runner(w, p, d, &opened.runner, &et);
    if (err != ERR_OK) {
        const char *detail = et.text[0] == '\0' ? err_describe(err) : et.text;
        log_line(LOG_LEVEL_ERROR, "cannot open a read model", log_text("projection", p->name),
                 log_number("version", (int64_t)d->version), log_text("detail", detail));
        opened.seen.state = RUNNER_FAULTED;
        snprintf(opened.fault, sizeof opened.fault, "%s", detail);
    }
    pthread_mutex_lock(&w->mutex);
    *part = opened;
    workers_show(w, p);
    part->since = part->seen.position;
    pthread_mutex_unlock(&w->mutex);
}

/* ---- which one serves ---- */

static uint64_t served_number(const struct model *m)
{
    struct bytes text = model_fact(m, MODEL_SERVED);
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    }
    return v;
}

/* 0: it has not served, or is not there. */
static uint64_t served_on_disk(struct workers *w, const struct projection *p,
                               const struct catalog_definition *d)
{
    char dir[WORKERS_PATH_MAX];
    struct stat st;
    struct model *m;
    struct err_text et = {0};
    if (models_dir(w, p->name, d->version, dir) != ERR_OK || stat(dir, &st) != 0 ||
        open_model(w, p->name, dir, d, &m, &et) != ERR_OK) {
        return 0;
    }
    uint64_t number = served_number(m);
    model_close(m);
    return number;
}

/* The version that served last, and the one before it; NULL: there is none. */
static void find_served(struct workers *w, const struct projection *p,
                        const struct catalog_projection *c,
                        const struct catalog_definition **ret_last,
                        const struct catalog_definition **ret_before)
{
    uint64_t last = 0, before = 0;
    *ret_last = *ret_before = NULL;
    for (size_t i = 0; i < c->version_count; i++) {
        uint64_t number = served_on_disk(w, p, &c->versions[i]);
        if (number > last) {
            *ret_before = *ret_last, before = last;
            *ret_last = &c->versions[i], last = number;
        } else if (number > before) {
            *ret_before = &c->versions[i], before = number;
        }
    }
}

/* Those who ask for the status read it meanwhile. */
static void set_previous(struct workers *w, struct projection *p, uint64_t version)
{
    pthread_mutex_lock(&w->mutex);
    p->previous = version;
    pthread_mutex_unlock(&w->mutex);
}

static void open_at_start(struct workers *w, struct projection *p,
                          const struct catalog_projection *c)
{
    const struct catalog_definition *last, *before;
    find_served(w, p, c, &last, &before);
    set_previous(w, p, before == NULL ? 0 : before->version);
    if (last != NULL) {
        open_part(w, p, last, &p->serving);
        close_readers(w, p, last->version);
    }
}

/* ---- what the catalog says ---- */

static void pause_part(struct part *part, bool paused)
{
    if (part->runner == NULL) {
        return;
    }
    struct runner_status status;
    runner_get_status(part->runner, &status);
    err_t err = ERR_OK;
    if (paused && status.state != RUNNER_PAUSED) {
        err = runner_pause(part->runner);
    } else if (!paused && status.state == RUNNER_PAUSED) {
        err = runner_resume(part->runner, NULL);
    }
    if (err != ERR_OK) {
        log_line(LOG_LEVEL_WARN, "cannot pause or resume a projection",
                 log_text("error", err_name(err)));
    }
}

static void reconcile(struct workers *w, struct projection *p, const struct catalog_projection *c)
{
    const struct catalog_definition *desired = catalog_version(c, c->desired);
    CHECK(desired != NULL);
    if (p->serving.version == 0 && p->building.version == 0) {
        open_at_start(w, p, c);
    }
    if (p->building.version != 0 && p->building.version != desired->version) {
        close_part(w, &p->building);
    }
    if (p->serving.version != desired->version && p->building.version != desired->version) {
        open_part(w, p, desired, &p->building);
    }
    pause_part(&p->serving, c->paused);
    pause_part(&p->building, c->paused);
    remove_where(w, is_old_version, p);
}

static bool is_as_wanted(const struct projection *p, const struct catalog_projection *c)
{
    if (p->deleted || c->deleted) {
        return p->deleted && c->deleted;
    }
    bool opened = p->serving.version == c->desired || p->building.version == c->desired;
    bool alone = p->serving.version != c->desired || p->building.version == 0;
    return opened && alone && p->paused == c->paused;
}

static void copy_definition(struct projection *p, const struct catalog_projection *c)
{
    const struct catalog_definition *d = catalog_version(c, c->desired);
    p->deleted = c->deleted;
    p->paused = c->paused;
    if (d != NULL) {
        p->definition = *d;
        p->definition.source = BYTES_NONE;
    }
}

err_t models_reconcile(struct workers *w, struct projection *p)
{
    const struct catalog_projection *c = catalog_find_any(w->catalog, bytes_of_string(p->name));
    CHECK(c != NULL);
    pthread_mutex_lock(&w->mutex);
    workers_claim(w, p);
    bool same = is_as_wanted(p, c);
    copy_definition(p, c);
    pthread_mutex_unlock(&w->mutex);
    if (!same && c->deleted) {
        models_close(w, p);
        set_previous(w, p, 0);
        remove_where(w, is_old_version, p);
    } else if (!same) {
        reconcile(w, p, c);
    }
    pthread_mutex_lock(&w->mutex);
    workers_show(w, p);
    workers_unclaim(w, p);
    pthread_mutex_unlock(&w->mutex);
    return ERR_OK;
}

err_t models_open_counts(struct workers *w, struct projection *p)
{
    p->builtin = true;
    p->definition =
        (struct catalog_definition){.version = 1, .kind = &model_counts, .policy = {.attempts = 1}};
    open_part(w, p, &p->definition, &p->building);
    if (p->building.runner != NULL && served_number(runner_model(p->building.runner)) > 0) {
        p->serving = p->building;
        p->building = (struct part){0};
        p->readers_version = p->serving.version;
    }
    return ERR_OK;
}

err_t models_swap(struct workers *w, struct projection *p)
{
    char text[24];
    uint64_t number =
        p->serving.runner == NULL ? 1 : served_number(runner_model(p->serving.runner)) + 1;
    snprintf(text, sizeof text, "%" PRIu64, number);
    err_t err =
        model_set_fact(runner_model(p->building.runner), MODEL_SERVED, bytes_of_string(text), NULL);
    if (err != ERR_OK) {
        return err;
    }
    pthread_mutex_lock(&w->mutex);
    struct part old = p->serving;
    p->serving = p->building;
    p->building = (struct part){0};
    p->previous = old.version != 0 ? old.version : p->previous;
    workers_show(w, p);
    p->serving.since = p->serving.seen.position;
    pthread_mutex_unlock(&w->mutex);
    close_readers(w, p, p->serving.version);
    runner_free(old.runner);
    remove_where(w, is_old_version, p);
    log_line(LOG_LEVEL_INFO, "a projection serves a new version", log_text("projection", p->name),
             log_number("version", (int64_t)p->serving.version),
             log_number("position", (int64_t)p->serving.seen.position));
    return ERR_OK;
}
