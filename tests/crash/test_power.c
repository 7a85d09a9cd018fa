/* Power cuts: a store is written by processes that die (record.c notes every write, sync and change
 * of a name), and from the record crash images are built (image.c): what a power cut at any place
 * may leave on a device that tears writes at 512 bytes and keeps what is not synced in any part and
 * order. Each image must open, hold exactly a beginning of the commands with every acknowledged
 * one, verify clean, and go on.
 *
 * DAYBOOK_POWER_IMAGES: how many images in all; DAYBOOK_TEST_SEED; DAYBOOK_KEEP: leave the image
 * that fails. */
#include "tests/crash/image.h"
#include "tests/model/workload.h"
#include "tests/unit/child.h"
#include "tests/unit/support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_IMAGES  700
#define IMAGES_PER_RUN  100
#define SESSIONS        3
#define STEPS_MAX       90
#define SESSION_SECONDS 120
#define RECLAIM_STEPS   40
/* Every so many images the store is also applied, appended to, closed and opened again. */
#define GO_ON_EVERY 3

enum mark { MARK_SUBMITTED, MARK_ACKNOWLEDGED };

struct session {
    uint64_t seed, random;
    struct workload workload;
    struct test_dir data;
};

static struct store_options options_in(const struct test_dir *data)
{
    struct store_options o = test_options(data);
    o.disk_free_min_bytes = 1 << 20;
    o.salt = 0x5a17;
    return o;
}

/* ---- a process that is recorded ---- */

static void mark_submitted(uint64_t position)
{
    record_mark(MARK_SUBMITTED, position);
}

static void commit_some(struct session *s, struct store *store)
{
    err_t err =
        workload_commit(store, &s->workload, 1 + (size_t)test_below(&s->random, 4), mark_submitted);
    assert_true(err == ERR_OK || err == ERR_FULL);
    record_mark(MARK_ACKNOWLEDGED, s->workload.position);
    if (err == ERR_FULL) {
        test_apply_all(store);
    }
}

/* The applier's other work: what lives have hidden is taken out of the files. */
static void reclaim(struct store *store)
{
    bool more = true;
    for (int i = 0; i < RECLAIM_STEPS && more; i++) {
        err_t err = store_reclaim(store, TEST_TIME_US, &more);
        assert_int_equal(err, ERR_OK);
    }
}

static void step(struct session *s, struct store *store)
{
    bool more;
    uint64_t what = test_below(&s->random, 10);
    if (what < 7) {
        commit_some(s, store);
    } else if (what < 9) {
        err_t err = store_apply(store, test_below(&s->random, 3) == 0, &more);
        assert_int_equal(err, ERR_OK);
        if (!more) {
            reclaim(store);
        }
    } else {
        err_t err = store_prepare(store);
        assert_int_equal(err, ERR_OK);
    }
}

/* Ends as a killed process does, or with a clean stop. */
static int run_session(void *ctx)
{
    struct session *s = ctx;
    struct store_options o = options_in(&s->data);
    record_switch(true);
    struct store *store = test_open_with(&o);
    record_mark(MARK_ACKNOWLEDGED, store_position(store)); /* what is shown is promised */
    workload_init_at(&s->workload, s->seed, store_position(store));
    for (uint64_t n = test_below(&s->random, STEPS_MAX); n > 0; n--) {
        step(s, store);
    }
    if (test_below(&s->random, 3) == 0) {
        store_close(store);
    }
    return 0;
}

/* Several processes after one another on one directory. */
static void record_run(uint64_t seed, struct test_dir *root, struct session *s)
{
    test_dir_make(root);
    *s = (struct session){.seed = seed, .random = seed};
    test_path(root, "data", s->data.path);
    record_begin(root->path);
    for (int i = 0; i < SESSIONS; i++) {
        test_random(&s->random);
        int status = child_run(run_session, s, SESSION_SECONDS);
        if (status != 0) {
            fail_msg("seed %" PRIu64 ", session %d: %s", seed, i, child_status_text(status));
        }
    }
}

static void remove_tree(const struct test_dir *root)
{
    char path[TEST_PATH_MAX];
    struct test_dir data;
    test_path(root, "data", data.path);
    if (access(data.path, F_OK) == 0) {
        test_dir_remove(&data);
    }
    assert_int_equal(rmdir(test_path(root, "", path)), 0);
}

/* ---- an image ---- */

struct place {
    uint64_t seed, entry;
    enum image_choice choice;
    bool any_names;
    uint64_t submitted, acknowledged;
};

static void fail_at(const struct place *p, const struct test_dir *root, const char *what)
{
    print_message("seed %" PRIu64 ", entry %" PRIu64 ", choice %d, names %s, acknowledged %" PRIu64
                  ", submitted %" PRIu64 ": %s (%s)\n",
                  p->seed, p->entry, (int)p->choice, p->any_names ? "any" : "in order",
                  p->acknowledged, p->submitted, what, root->path);
    if (getenv("DAYBOOK_KEEP") == NULL) {
        remove_tree(root);
    }
    fail();
}

static struct store *open_image(const struct place *p, const struct test_dir *root)
{
    struct test_dir data;
    struct store *s = NULL;
    struct err_text et = {0};
    test_path(root, "data", data.path);
    struct store_options o = options_in(&data);
    err_t err = store_open(&o, &s, &et);
    if (err != ERR_OK) {
        fail_at(p, root, et.text);
    }
    return s;
}

static void check_store(const struct place *p, const struct test_dir *root, struct store *s)
{
    const char *bad = workload_check(s, p->seed);
    if (bad != NULL) {
        fail_at(p, root, bad);
    }
    bool found;
    if (test_verify(s, NULL, &found) != 0) {
        fail_at(p, root, "verify has findings");
    }
}

/* Recovers for good: applies, appends, closes and opens again. */
static void go_on(const struct place *p, const struct test_dir *root, struct store *s)
{
    struct workload w;
    workload_init_at(&w, p->seed, store_position(s));
    test_apply_all(s);
    reclaim(s);
    check_store(p, root, s);
    err_t err = workload_commit(s, &w, 2, NULL);
    assert_int_equal(err, ERR_OK);
    store_close(s);
    s = open_image(p, root);
    assert_int_equal(store_position(s), w.position);
    check_store(p, root, s);
    store_close(s);
}

static void check_image(const struct image *m, const struct place *p, uint64_t *random,
                        bool goes_on)
{
    struct test_dir root;
    test_dir_make(&root);
    image_write(m, root.path, p->choice, p->any_names, random);
    struct store *s = open_image(p, &root);
    uint64_t position = store_position(s);
    if (position < p->acknowledged) {
        fail_at(p, &root, "acknowledged events are lost");
    }
    if (position > p->submitted) {
        fail_at(p, &root, "there is more than was submitted");
    }
    check_store(p, &root, s);
    if (goes_on) {
        go_on(p, &root, s);
    } else {
        store_close(s);
    }
    remove_tree(&root);
}

/* ---- a run's images ---- */

static uint64_t count_entries(void)
{
    uint64_t n = 0;
    for (const struct record_entry *e = NULL; (e = record_next(e)) != NULL;) {
        n++;
    }
    return n;
}

/* During or after entries that are taken at random: about IMAGES_PER_RUN in all. */
static uint64_t cut_power(uint64_t seed)
{
    uint64_t random = ~seed, entries = count_entries(), images = 0;
    struct image *m = image_new();
    struct place p = {.seed = seed};
    for (const struct record_entry *e = NULL; (e = record_next(e)) != NULL; p.entry++) {
        image_begin_entry(m, e);
        while (test_below(&random, entries + IMAGES_PER_RUN) < IMAGES_PER_RUN) {
            p.choice = (enum image_choice)test_below(&random, IMAGE_CHOICES);
            p.any_names = test_below(&random, 2) == 0;
            check_image(m, &p, &random, images++ % GO_ON_EVERY == 0);
        }
        image_end_entry(m, e);
        if (e->op == RECORD_MARK) {
            *(e->object == MARK_SUBMITTED ? &p.submitted : &p.acknowledged) = e->at;
        }
    }
    image_free(m);
    return images;
}

static uint64_t wanted_images(void)
{
    const char *text = getenv("DAYBOOK_POWER_IMAGES");
    return text == NULL ? DEFAULT_IMAGES : strtoull(text, NULL, 10);
}

/* Every image opens and holds a beginning of the commands with every acknowledged one. */
static void test_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = test_seed(), images = 0, runs = 0;
    for (; images < wanted_images(); runs++) {
        struct test_dir root;
        struct session s;
        record_run(seed + runs, &root, &s);
        images += cut_power(seed + runs);
        record_end();
        remove_tree(&root);
    }
    print_message("%" PRIu64 " images of %" PRIu64 " runs: each opened, verified, complete\n",
                  images, runs);
}

/* The harness sees a store that does not sync: with the journal's writes taken for un-synced ones,
 * acknowledged events are lost in some image. */
static void test_power_cuts_canary(void **state)
{
    (void)state;
    struct test_dir root;
    struct session s;
    uint64_t lost = 0, acknowledged = 0, random = 1;
    record_run(7, &root, &s);
    struct image *m = image_new();
    for (const struct record_entry *e = NULL; (e = record_next(e)) != NULL;) {
        image_begin_entry(m, e);
        if (e->op != RECORD_WRITE) {
            image_end_entry(m, e);
        }
        acknowledged =
            e->op == RECORD_MARK && e->object == MARK_ACKNOWLEDGED ? e->at : acknowledged;
    }
    struct test_dir image, data;
    test_dir_make(&image);
    image_write(m, image.path, IMAGE_NONE, false, &random);
    test_path(&image, "data", data.path);
    struct store_options o = options_in(&data);
    struct store *store = NULL;
    struct err_text et;
    err_t err = store_open(&o, &store, &et);
    lost = err == ERR_OK ? acknowledged - store_position(store) : 1;
    store_close(store);
    remove_tree(&image);
    image_free(m);
    record_end();
    remove_tree(&root);
    assert_true(acknowledged > 0 && lost > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_power_cuts_canary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
