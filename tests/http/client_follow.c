/* client_follow: following with the C client library, as a program that prints what it is given.
 * test_client_follow.py compiles it and runs it: client_follow URL STREAM COUNT MORE...
 *
 * STREAM: "" is the log. It ends with 0 after COUNT events (0: never). Each of MORE is end, type=T,
 * category=C, after=N, limit=N, heartbeat=MS, retry=MS, or stop: a thread interrupts it once it has
 * caught up. Lines: "<after> <stream>@<revision> <type> <data>", "caught_up <after>", "heartbeat
 * <after>", "waiting", and at the end "end", or the title of the problem. */
#include "clients/c/daybook.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program {
    struct daybook *db;
    struct daybook_follow_options options;
    const char *type, *category;
    uint64_t count;
    bool stop, stopping;
    pthread_t stopper;
};

static void *interrupt(void *db)
{
    daybook_interrupt(db);
    return NULL;
}

static void on_waiting(void *arg, const char *reason, uint64_t wait_ms)
{
    (void)arg;
    (void)reason;
    (void)wait_ms;
    (void)puts("waiting");
    (void)fflush(stdout);
}

static bool read_argument(struct program *p, const char *text)
{
    const char *value = strchr(text, '=');
    value = value == NULL ? "" : value + 1;
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {{"after=", &p->options.read.after},
                   {"limit=", &p->options.read.limit},
                   {"heartbeat=", &p->options.heartbeat_ms},
                   {"retry=", &p->options.retry_ms}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strncmp(text, numbers[i].name, strlen(numbers[i].name)) == 0) {
            *numbers[i].number = strtoull(value, NULL, 10);
            return true;
        }
    }
    if (strcmp(text, "end") == 0) {
        p->options.from_end = true;
    } else if (strcmp(text, "stop") == 0) {
        p->stop = true;
    } else if (strncmp(text, "type=", 5) == 0) {
        p->type = value;
        p->options.read.types = (struct daybook_names){&p->type, 1};
    } else if (strncmp(text, "category=", 9) == 0) {
        p->category = value;
        p->options.read.categories = (struct daybook_names){&p->category, 1};
    } else {
        return false;
    }
    return true;
}

static void print(struct program *p, const struct daybook_followed *f)
{
    const struct daybook_event *e = f->event;
    switch (f->kind) {
    case DAYBOOK_FOLLOWED_EVENT:
        (void)printf("%" PRIu64 " %s@%" PRIu64 " %s %.*s\n", f->after, e->stream, e->revision,
                     e->type, (int)e->data.n, (const char *)e->data.p);
        break;
    case DAYBOOK_FOLLOWED_CAUGHT_UP:
        (void)printf("caught_up %" PRIu64 "\n", f->after);
        if (p->stop && !p->stopping) {
            p->stopping = pthread_create(&p->stopper, NULL, interrupt, p->db) == 0;
        }
        break;
    case DAYBOOK_FOLLOWED_HEARTBEAT:
        (void)printf("heartbeat %" PRIu64 "\n", f->after);
        break;
    }
    if (!f->ready) {
        (void)fflush(stdout);
    }
}

static int run(struct program *p)
{
    struct daybook_follower *follower = NULL;
    const struct daybook_followed *followed = NULL;
    uint64_t events = 0;
    enum daybook_result result = daybook_follow(p->db, &p->options, &follower);
    while (result == DAYBOOK_OK && (p->count == 0 || events < p->count) &&
           (result = daybook_follow_next(follower, &followed)) == DAYBOOK_OK) {
        print(p, followed);
        events += followed->kind == DAYBOOK_FOLLOWED_EVENT;
    }
    /* What it ended with, it says again. */
    if (follower != NULL && result != DAYBOOK_OK &&
        daybook_follow_next(follower, &followed) != result) {
        return 3;
    }
    if (result == DAYBOOK_END) {
        (void)puts("end");
    } else if (result != DAYBOOK_OK) {
        const struct daybook_problem *problem = daybook_problem(p->db);
        (void)printf("%s: %s\n", problem->title, problem->detail);
    }
    daybook_follow_free(follower);
    return result == DAYBOOK_OK || result == DAYBOOK_END ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct program p = {.count = argc > 3 ? strtoull(argv[3], NULL, 10) : 0};
    const struct daybook_options options = {.retry_ms = 2000, .waiting = on_waiting};
    for (int i = 4; i < argc; i++) {
        if (!read_argument(&p, argv[i])) {
            return 2;
        }
    }
    if (argc < 4 || daybook_open(argv[1], &options, &p.db) != DAYBOOK_OK) {
        return 2;
    }
    p.options.read.stream = argv[2][0] == '\0' ? NULL : argv[2];
    int status = run(&p);
    if (p.stopping) {
        (void)pthread_join(p.stopper, NULL);
    }
    daybook_close(p.db);
    return status;
}
