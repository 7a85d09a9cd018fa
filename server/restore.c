/* restore: a backup into a new data directory.
 *
 * The records go into the log as they are; then the store is opened, which builds the index. A
 * store of an earlier position gets an id of its own: it is another history from there on, and no
 * client may take it for the one it knows. */
#include "server/restore.h"

#include "server/backup.h"
#include "server/ids.h"
#include "server/maintenance.h"
#include "storage/copy.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_US ((int64_t)200000)

struct progress {
    const char *doing;
    int64_t last_us;
    bool shown;
};

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void show_progress(struct progress *p, const struct backup_reader *r)
{
    int64_t now_us = clock_us(CLOCK_MONOTONIC);
    if (isatty(STDERR_FILENO) && now_us - p->last_us >= PROGRESS_US) {
        p->last_us = now_us;
        p->shown = true;
        fprintf(stderr, "\r%s %" PRIu64 " events, %" PRIu64 " MiB of the backup\033[K", p->doing,
                r->position, r->offset >> 20);
    }
}

static void clear_progress(const struct progress *p)
{
    if (p->shown) {
        fputs("\r\033[K", stderr);
    }
}

static int failed(const char *what, err_t err, const struct err_text *et)
{
    fprintf(stderr, "daybookd: %s: %s\n", what, et->text[0] != '\0' ? et->text : err_describe(err));
    return err == ERR_CORRUPT ? MAINTENANCE_FINDINGS : MAINTENANCE_ERROR;
}

static FILE *open_file(const char *file)
{
    FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    if (f == NULL) {
        fprintf(stderr, "daybookd: cannot open %s: %s\n", file, strerror(errno));
    }
    return f;
}

static void close_file(FILE *f)
{
    if (f != stdin) {
        (void)fclose(f);
    }
}

/* ---- verify ---- */

static err_t read_all(struct backup_reader *r, FILE *f, struct err_text *et)
{
    struct progress p = {.doing = "verified"};
    struct backup_frame frame;
    err_t err = backup_open(r, f, et);
    while (err == ERR_OK) {
        err = backup_next(r, &frame, et);
        show_progress(&p, r);
    }
    clear_progress(&p);
    return err == ERR_END ? ERR_OK : err;
}

int restore_verify(const char *file)
{
    FILE *f = open_file(file);
    if (f == NULL) {
        return MAINTENANCE_ERROR;
    }
    struct backup_reader r;
    struct err_text et = {0};
    err_t err = read_all(&r, f, &et);
    close_file(f);
    backup_reader_done(&r);
    if (err != ERR_OK) {
        return failed(file, err, &et);
    }
    char id[UUID_TEXT_BYTES + 1] = "";
    uuid_format(r.store_id, id);
    printf("ok: a backup of the store %s up to position %" PRIu64 ", %" PRIu64 " bytes\n", id,
           r.position, r.offset);
    return MAINTENANCE_OK;
}

/* ---- restore ---- */

static err_t make_empty_dir(const char *dir, struct err_text *et)
{
    if (mkdir(dir, 0700) == 0) {
        return ERR_OK;
    }
    if (errno != EEXIST) {
        return err_set(et, err_from_errno(errno), "cannot make %s: %s", dir, strerror(errno));
    }
    DIR *d = opendir(dir);
    if (d == NULL) {
        return err_set(et, err_from_errno(errno), "cannot open %s: %s", dir, strerror(errno));
    }
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(d)) != NULL;) {
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    }
    (void)closedir(d);
    return empty ? ERR_OK
                 : err_set(et, ERR_INVALID,
                           "%s is not empty; a backup is restored into a new or empty directory",
                           dir);
}

/* The part of a frame up to the position `to`. */
static err_t put_frame(struct copy_target *t, const struct backup_frame *frame, uint64_t to)
{
    if (to != 0 && frame->first > to) {
        return ERR_OK;
    }
    uint64_t last = frame->first + frame->n - 1;
    uint64_t n = to != 0 && to < last ? to - frame->first + 1 : frame->n;
    return copy_put(t, frame->first, (uint32_t)n, frame->records);
}

/* Reads to the end in any case: what is damaged must not look restored. */
static err_t put_all(struct backup_reader *r, struct copy_target *t, uint64_t to,
                     struct err_text *et)
{
    struct progress p = {.doing = "restored"};
    struct backup_frame frame;
    err_t err = ERR_OK;
    while (err == ERR_OK) {
        err = backup_next(r, &frame, et);
        if (err == ERR_OK) {
            err = put_frame(t, &frame, to);
        }
        show_progress(&p, r);
    }
    clear_progress(&p);
    if (err == ERR_END && to > r->position) {
        return err_set(et, ERR_INVALID, "the backup ends at position %" PRIu64, r->position);
    }
    return err == ERR_END ? ERR_OK : err;
}

/* Opening builds the index. */
static err_t finish(const struct store_options *options, bool cut, uint64_t *ret_cut_streams,
                    struct err_text *et)
{
    struct store *store;
    struct store_options restoring = *options;
    restoring.restoring = true;
    *ret_cut_streams = 0;
    err_t err = store_open(&restoring, &store, et);
    if (err != ERR_OK) {
        return err;
    }
    err = store_prepare(store); /* from now on there is a journal */
    if (err == ERR_OK && cut) {
        err = copy_settle(store, clock_us(CLOCK_REALTIME), ids_make, ret_cut_streams);
    }
    store_close(store);
    return err == ERR_OK ? copy_mark_whole(options->dir) : err;
}

static err_t restore(struct backup_reader *r, FILE *f, const struct store_options *options,
                     uint64_t to, uint64_t *ret_cut_streams, struct err_text *et)
{
    struct copy_target *target;
    struct store_options made = *options;
    err_t err = make_empty_dir(options->dir, et);
    if (err == ERR_OK) {
        err = backup_open(r, f, et);
    }
    if (err == ERR_OK && to == 0) {
        memcpy(made.new_store_id, r->store_id, UUID_BYTES);
    }
    if (err == ERR_OK) {
        err = copy_open(&made, &target, et);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = put_all(r, target, to, et);
    err_t closed = copy_close(target, r->clock_us);
    err = err == ERR_OK ? closed : err;
    return err == ERR_OK ? finish(&made, to != 0, ret_cut_streams, et) : err;
}

int restore_run(const char *file, const struct store_options *options, uint64_t to_position)
{
    FILE *f = open_file(file);
    if (f == NULL) {
        return MAINTENANCE_ERROR;
    }
    struct backup_reader r = {.file = NULL};
    struct err_text et = {0};
    uint64_t cut_streams = 0;
    err_t err = restore(&r, f, options, to_position, &cut_streams, &et);
    close_file(f);
    backup_reader_done(&r);
    if (err != ERR_OK) {
        return failed("nothing was restored", err, &et);
    }
    printf("restored up to position %" PRIu64 " into %s\n",
           to_position == 0 ? r.position : to_position, options->dir);
    if (cut_streams > 0) {
        printf("%" PRIu64 " streams are truncated: the backup has none of their events that were "
               "deleted later\n",
               cut_streams);
    }
    return MAINTENANCE_OK;
}
