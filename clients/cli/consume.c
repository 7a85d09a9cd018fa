/* consume: `daybook consume GROUP`: works on the events of a group, one after the other, with a
 * command for each, or prints them.
 *
 * Three handles: one that waits for events and is interrupted by Ctrl-C, and two that are not, so
 * that what is in hand can still be settled (consume_leases.h). */
#include "connect.h"
#include "consume_command.h"
#include "consume_leases.h"
#include "event_json.h"
#include "group_int.h"
#include "interrupt.h"
#include "progress.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PRINT_MAX       100
#define FETCH_MAX       10000
#define WAIT_MS         20000
#define SETTLE_RETRY_MS 60000
#define NAME_BYTES      96
#define LINES_BYTES_MAX ((size_t)1 << 30)

struct consume {
    const char *group, *consumer, *exec, *timeout, *url;
    uint64_t max, count;
    bool until_empty;
    uint64_t timeout_ms; /* 0: for ever */
    char name[NAME_BYTES];
    struct daybook *fetcher;
    struct consume_leases leases;
    struct daybook_buffer line;
    struct progress progress;
    bool away;
    uint64_t heard_ms; /* when there was an event last */
    uint64_t taken, acked, skipped, parked, retried, returned;
};

static int run(struct consume *c, const struct cli_globals *globals);
static int check(struct consume *c);
static int loop(struct consume *c);

static const char about[] =
    "Works on the events of a consumer group, as one of its consumers. With --exec the command\n"
    "gets one event on its standard input, as a line of JSON, and in its environment\n"
    "DAYBOOK_STREAM, DAYBOOK_TYPE, DAYBOOK_POSITION, DAYBOOK_REVISION, DAYBOOK_ATTEMPT (1 is the\n"
    "first) and DAYBOOK_URL. Its exit status settles the event:\n"
    "  0         done: acknowledged\n"
    "  99        skipped: settled, though nothing was done\n"
    "  100       parked: `daybook group parked` lists it, with the reason\n"
    "  126, 127  the command cannot be run: the event is given back, and consume ends\n"
    "  other     tried again later, by the group's back-off; parked after its last attempt\n"
    "The reason is the last line on its standard error. Leases are extended while it runs. "
    "Without\n"
    "--exec events are printed as NDJSON and acknowledged once they are written. A server that is\n"
    "restarted is waited for. Ctrl-C lets the command in hand finish and gives the other events\n"
    "back at once; a second one ends consume on the spot.\n";

int cli_consume(int argc, char **argv, const struct cli_globals *globals)
{
    struct consume c = {0};
    const struct cli_option options[] = {
        {"exec", CLI_TEXT, &c.exec, "COMMAND", "for /bin/sh, run once for each event"},
        {"consumer", CLI_TEXT, &c.consumer, "NAME", "shown by `group show`: HOST-PID"},
        {"max", CLI_NUMBER, &c.max, "N", "events leased at a time: 1; without --exec 100"},
        {"count", CLI_NUMBER, &c.count, "N", "end after so many events"},
        {"until-empty", CLI_FLAG, &c.until_empty, NULL, "end where there is nothing to fetch"},
        {"timeout", CLI_TEXT, &c.timeout, "T", "end when no event came for so long: 30s, 5m"},
    };
    const struct cli_usage usage = {
        .synopsis = "consume GROUP [--exec COMMAND] [options]",
        .about = about,
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    c.group = arguments[0];
    exit = exit == CLI_GO_ON ? check(&c) : exit;
    return exit == CLI_GO_ON ? run(&c, globals) : exit;
}

static int check(struct consume *c)
{
    double timeout_s = 0;
    char host[NAME_BYTES / 2] = "";
    if (c->timeout != NULL && !group_parse_seconds(c->timeout, &timeout_s)) {
        cli_error("--timeout must be a time like 30s or 5m, not %s", c->timeout);
        return CLI_USAGE;
    }
    if (c->max > FETCH_MAX) {
        cli_error("--max must be 1 to %d, not %" PRIu64, FETCH_MAX, c->max);
        return CLI_USAGE;
    }
    c->timeout_ms = (uint64_t)(timeout_s * 1000);
    c->max = c->max > 0 ? c->max : c->exec != NULL ? 1 : PRINT_MAX;
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(c->name, sizeof c->name, "%s-%ld", host, (long)getpid());
    c->consumer = c->consumer == NULL ? c->name : c->consumer;
    return CLI_GO_ON;
}

/* ---- running ---- */

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void on_waiting(void *arg, const char *reason, uint64_t wait_ms)
{
    struct consume *c = arg;
    (void)wait_ms;
    if (!c->away && !interrupt_came()) {
        c->away = true;
        progress_clear(&c->progress);
        (void)fprintf(stderr, "waiting for the server: %s\n", reason);
    }
}

static void is_there(struct consume *c)
{
    if (c->away) {
        c->away = false;
        (void)fprintf(stderr, "the server is there again\n");
    }
}

/* The group must be there now; later the server is waited for. */
static int open_handles(struct consume *c, const struct cli_globals *globals)
{
    const struct daybook_options patient = {.retry_ms = DAYBOOK_RETRY_FOREVER,
                                            .user_agent = "daybook/" DAYBOOK_VERSION,
                                            .waiting = on_waiting,
                                            .waiting_arg = c};
    const struct daybook_options firm = {.retry_ms = SETTLE_RETRY_MS,
                                         .user_agent = "daybook/" DAYBOOK_VERSION};
    const struct daybook_options hurried = {.retry_ms = DAYBOOK_RETRY_NEVER,
                                            .user_agent = "daybook/" DAYBOOK_VERSION};
    struct daybook *db = cli_connect(globals, NULL);
    c->leases.group = c->group;
    c->leases.db = db;
    if (db == NULL) {
        return CLI_FAILED;
    }
    int exit = consume_leases_ask(&c->leases) ? CLI_GO_ON : cli_fail(db, c->group);
    daybook_close(db);
    c->leases.db = NULL;
    if (exit == CLI_GO_ON) {
        c->fetcher = cli_connect(globals, &patient);
        c->leases.db = cli_connect(globals, &firm);
        c->leases.hurried = cli_connect(globals, &hurried);
        bool ok = c->fetcher != NULL && c->leases.db != NULL && c->leases.hurried != NULL;
        exit = ok ? CLI_GO_ON : CLI_FAILED;
    }
    return exit;
}

static void say_summary(const struct consume *c)
{
    const struct {
        const char *text;
        uint64_t n;
    } parts[] = {{"acknowledged", c->acked},  {"skipped", c->skipped},
                 {"parked", c->parked},       {"to be tried again", c->retried},
                 {"given back", c->returned}, {"lost their lease", c->leases.lost}};
    (void)fprintf(stderr, "%" PRIu64 " event%s", c->taken, c->taken == 1 ? "" : "s");
    const char *before = ": ";
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].n > 0) {
            (void)fprintf(stderr, "%s%" PRIu64 " %s", before, parts[i].n, parts[i].text);
            before = ", ";
        }
    }
    (void)fprintf(stderr, "\n");
}

static int run(struct consume *c, const struct cli_globals *globals)
{
    c->url = globals->url;
    daybook_buffer_init(&c->line, LINES_BYTES_MAX);
    int exit = open_handles(c, globals);
    if (exit == CLI_GO_ON) {
        interrupt_watch(c->fetcher);
        if (c->exec == NULL) { /* a reader that goes away must not end it before all is settled */
            (void)signal(SIGPIPE, SIG_IGN);
        }
        progress_start(&c->progress, isatty(STDOUT_FILENO) == 1);
        exit = loop(c);
        interrupt_forget();
        progress_clear(&c->progress);
        if (c->exec != NULL) {
            say_summary(c);
        }
    }
    consume_leases_done(&c->leases);
    daybook_buffer_done(&c->line);
    daybook_close(c->fetcher);
    daybook_close(c->leases.db);
    daybook_close(c->leases.hurried);
    return exit;
}

/* ---- settling ---- */

/* Untouched ones, from `first` on: another consumer may have them at once. */
static void give_back(struct consume *c, size_t first)
{
    static const double at_once = 0;
    const struct daybook_nack nack = {.action = DAYBOOK_RETRY, .delay_s = &at_once};
    c->returned += consume_leases_settle(&c->leases, first, c->leases.n, &nack);
}

static void say_verdict(struct consume *c, const struct daybook_delivery *d,
                        const struct consume_ended *ended, const char *what)
{
    progress_clear(&c->progress);
    cli_error("%s@%" PRIu64 ", attempt %" PRIu64 ": %s; %s", d->event.stream, d->event.revision,
              d->attempt, ended->how, what);
}

static void refuse(struct consume *c, size_t i, enum daybook_nack_action action,
                   const struct consume_ended *ended, uint64_t *count)
{
    struct daybook_buffer reason;
    daybook_buffer_init(&reason, sizeof ended->line * TEXT_SAFE_GROWTH);
    bool ok = text_add_safe(&reason, ended->reason, strlen(ended->reason)) &&
              daybook_buffer_add_byte(&reason, '\0');
    const struct daybook_nack nack = {.action = action, .reason = ok ? (char *)reason.p : NULL};
    *count += consume_leases_settle(&c->leases, i, i + 1, &nack);
    daybook_buffer_done(&reason);
}

static int settle(struct consume *c, const struct daybook_delivery *d, size_t i,
                  const struct consume_ended *ended)
{
    switch (consume_verdict_of(ended->status)) {
    case CONSUME_ACK:
        c->acked += consume_leases_settle(&c->leases, i, i + 1, NULL);
        return CLI_GO_ON;
    case CONSUME_SKIP:
        refuse(c, i, DAYBOOK_SKIP_EVENT, ended, &c->skipped);
        return CLI_GO_ON;
    case CONSUME_PARK:
        say_verdict(c, d, ended, "parked");
        refuse(c, i, DAYBOOK_PARK, ended, &c->parked);
        return CLI_GO_ON;
    case CONSUME_RETRY:
        say_verdict(c, d, ended, "it is tried again, or parked if this was the last attempt");
        refuse(c, i, DAYBOOK_RETRY, ended, &c->retried);
        return CLI_GO_ON;
    case CONSUME_STOP:
        break;
    }
    say_verdict(c, d, ended, "the command cannot be run");
    return CLI_FAILED;
}

/* ---- working ---- */

static int tick(void *arg)
{
    struct consume *c = arg;
    if (progress_is_due(&c->progress)) {
        progress_show(&c->progress, c->taken, 0, 0);
    }
    int wait_ms = consume_leases_keep(&c->leases);
    return c->progress.shown && wait_ms > 200 ? 200 : wait_ms;
}

static void clear(void *arg)
{
    progress_clear(&((struct consume *)arg)->progress);
}

static int no_memory(void)
{
    cli_error("not enough memory");
    return CLI_FAILED;
}

static int execute(struct consume *c, const struct daybook_delivery *d, size_t i)
{
    struct consume_ended ended;
    c->line.n = 0;
    if (!event_json_add(&c->line, &d->event)) {
        return no_memory();
    }
    const struct consume_command command = {.command = c->exec,
                                            .url = c->url,
                                            .delivery = d,
                                            .input = {c->line.p, c->line.n},
                                            .tick = tick,
                                            .clear = clear,
                                            .arg = c};
    (void)fflush(stdout);
    return consume_command_run(&command, &ended) ? settle(c, d, i, &ended) : CLI_FAILED;
}

static int execute_all(struct consume *c, const struct daybook_fetched *fetched)
{
    int exit = CLI_GO_ON;
    size_t i = 0;
    for (; i < fetched->deliveries_n && exit == CLI_GO_ON && !interrupt_came(); i++) {
        (void)tick(c);
        if (consume_leases_holds(&c->leases, i)) {
            c->taken++;
            exit = execute(c, &fetched->deliveries[i], i);
        }
    }
    give_back(c, exit == CLI_GO_ON ? i : i - 1);
    return exit;
}

/* Where the reader has gone away it ends without a word, as it would by SIGPIPE. */
static int print_all(struct consume *c, const struct daybook_fetched *fetched)
{
    c->line.n = 0;
    for (size_t i = 0; i < fetched->deliveries_n; i++) {
        if (!event_json_add(&c->line, &fetched->deliveries[i].event)) {
            give_back(c, 0);
            return no_memory();
        }
    }
    if (fwrite(c->line.p, 1, c->line.n, stdout) != c->line.n || fflush(stdout) != 0) {
        int error = errno;
        give_back(c, 0);
        return error == EPIPE ? 128 + SIGPIPE : CLI_FAILED;
    }
    c->taken += fetched->deliveries_n;
    c->acked += consume_leases_settle(&c->leases, 0, c->leases.n, NULL);
    (void)tick(c);
    return CLI_GO_ON;
}

/* ---- fetching ---- */

/* 0: it is time to end. */
static uint64_t wait_of(const struct consume *c)
{
    uint64_t passed_ms = now_ms() - c->heard_ms;
    if (c->timeout_ms == 0 || passed_ms + WAIT_MS < c->timeout_ms) {
        return WAIT_MS;
    }
    return passed_ms < c->timeout_ms ? c->timeout_ms - passed_ms : 0;
}

static int fetch(struct consume *c, struct daybook_fetched *ret)
{
    uint64_t left = c->count > 0 ? c->count - c->taken : UINT64_MAX;
    const struct daybook_fetch fetch = {.group = c->group,
                                        .consumer = c->consumer,
                                        .max = (unsigned)(left < c->max ? left : c->max),
                                        .wait_ms = c->until_empty ? 0 : wait_of(c)};
    if (daybook_group_fetch(c->fetcher, &fetch, ret) != DAYBOOK_OK) {
        return interrupt_came() ? interrupt_exit() : cli_fail(c->fetcher, c->group);
    }
    is_there(c);
    if (ret->deliveries_n > 0) {
        c->heard_ms = now_ms();
    } else if (c->until_empty || (c->timeout_ms > 0 && wait_of(c) == 0)) {
        return CLI_OK;
    }
    if (!consume_leases_take(&c->leases, ret)) {
        return no_memory();
    }
    return CLI_GO_ON;
}

static int loop(struct consume *c)
{
    struct daybook_fetched fetched;
    int exit = CLI_GO_ON;
    c->heard_ms = now_ms();
    while (exit == CLI_GO_ON) {
        if (interrupt_came()) {
            return interrupt_exit();
        }
        if (c->count > 0 && c->taken >= c->count) {
            return CLI_OK;
        }
        exit = fetch(c, &fetched);
        if (exit == CLI_GO_ON && fetched.deliveries_n > 0) {
            exit = c->exec != NULL ? execute_all(c, &fetched) : print_all(c, &fetched);
        }
    }
    return exit;
}
