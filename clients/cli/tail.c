/* tail: follows a stream or the log, for people or as NDJSON, until Ctrl-C.
 *
 * First the newest events that there are, as `tail -f` does: they are read backward from a head
 * that is asked for before, and following begins right behind that head, so that nothing is left
 * out or comes twice between the two. */
#include "connect.h"
#include "event_json.h"
#include "event_text.h"
#include "interrupt.h"
#include "text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINES_BYTES_MAX ((size_t)1 << 30)
#define NEWEST          10
#define UNSET           UINT64_MAX

struct tail {
    struct daybook_follow_options follow;
    struct cli_list types, categories, prefixes, tags;
    const char *from, *since;
    uint64_t newest; /* events that were there already: so many are printed first */
    uint64_t max;    /* in all; 0: no limit */
    bool until_caught_up, json, pretty;
    char since_time[TEXT_TIME_SIZE]; /* of "10m" */
    struct daybook *db;
    struct daybook_buffer line;
    bool connected; /* the server was there once */
    bool away;      /* it was said that it is not */
    uint64_t printed;
};

static int check(struct tail *t, const char *stream);
static int run(struct tail *t, const struct cli_globals *globals);
static int print_newest(struct tail *t);
static int follow(struct tail *t);

int cli_tail(int argc, char **argv, const struct cli_globals *globals)
{
    struct tail t = {.newest = UNSET};
    const struct cli_option options[] = {
        {"n", CLI_NUMBER, &t.newest, "N", "begin with the N newest events there are: 10"},
        {"from", CLI_TEXT, &t.from, "F",
         "begin with: start, end, or a position (stream: revision)"},
        {"since", CLI_TEXT, &t.since, "T",
         "begin with what came since: RFC 3339, or 90s 10m 2h 1d"},
        {"type", CLI_LIST, &t.types, "T", "only events of this type"},
        {"category", CLI_LIST, &t.categories, "C", "only streams of this category"},
        {"prefix", CLI_LIST, &t.prefixes, "P", "only streams whose names start so"},
        {"tag", CLI_LIST, &t.tags, "T", "only events with this tag"},
        {"max", CLI_NUMBER, &t.max, "N", "end after so many events"},
        {"until-caught-up", CLI_FLAG, &t.until_caught_up, NULL, "end where there are no more"},
        {"json", CLI_FLAG, &t.json, NULL, "NDJSON; the default where the output is no terminal"},
        {"pretty", CLI_FLAG, &t.pretty, NULL, "one line for people; the default on a terminal"},
    };
    const struct cli_usage usage = {
        .synopsis = "tail [STREAM] [options]",
        .about = "Prints the newest events of a stream, or of the whole log, and then those that "
                 "are\n"
                 "appended, as they are appended. A server that is restarted is waited for. A "
                 "line\n"
                 "for people: time, stream@revision, type, data; on a terminal it is cut to its\n"
                 "width. Ctrl-C ends it.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_max = 1,
    };
    const char *arguments[2];
    int result = cli_parse(argc, argv, &usage, arguments);
    if (result == CLI_GO_ON) {
        result = check(&t, arguments[0]);
    }
    return result == CLI_GO_ON ? run(&t, globals) : result;
}

/* ---- options ---- */

/* "10m" is the time of ten minutes ago, as text. False: it is something else. */
static bool read_ago(const char *text, char ret[TEXT_TIME_SIZE])
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t n = strspn(text, "0123456789");
    char digits[10];
    uint64_t number = 0;
    if (n == 0 || n >= sizeof digits || text[n] == '\0' || text[n + 1] != '\0') {
        return false;
    }
    (void)snprintf(digits, sizeof digits, "%.*s", (int)n, text);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (text[n] == units[i].unit && cli_parse_number(digits, &number)) {
            int64_t now_s = (int64_t)time(NULL);
            int64_t ago_s = (int64_t)(number * units[i].seconds);
            text_time((ago_s < now_s ? now_s - ago_s : 0) * 1000000, ret);
            return true;
        }
    }
    return false;
}

static int check_from(struct tail *t)
{
    uint64_t number = 0;
    if (t->from == NULL || strcmp(t->from, "start") == 0) {
        return CLI_GO_ON;
    }
    if (strcmp(t->from, "end") == 0) {
        t->follow.from_end = true;
    } else if (cli_parse_number(t->from, &number)) {
        t->follow.read.after = number > 0 ? number - 1 : 0;
    } else {
        cli_error("--from must be start, end or a number, not %s", t->from);
        return CLI_USAGE;
    }
    return CLI_GO_ON;
}

static struct daybook_names names(const struct cli_list *list)
{
    return (struct daybook_names){list->items, list->n};
}

static int check(struct tail *t, const char *stream)
{
    struct daybook_read_options *read = &t->follow.read;
    bool begins = t->from != NULL || t->since != NULL;
    if (t->newest != UNSET && begins) {
        cli_error("-n says where to begin: --from and --since do not go with it");
        return CLI_USAGE;
    }
    if (stream != NULL && t->categories.n + t->prefixes.n + t->tags.n > 0) {
        cli_error("--category, --prefix and --tag are for the whole log, not for one stream");
        return CLI_USAGE;
    }
    if (t->since != NULL) {
        read->since = read_ago(t->since, t->since_time) ? t->since_time : t->since;
    }
    read->stream = stream;
    read->types = names(&t->types);
    read->categories = names(&t->categories);
    read->prefixes = names(&t->prefixes);
    read->tags = names(&t->tags);
    t->newest = begins ? 0 : t->newest == UNSET ? NEWEST : t->newest;
    t->follow.from_end = !begins && t->newest == 0;
    t->json = t->json || (!t->pretty && isatty(STDOUT_FILENO) != 1);
    return check_from(t);
}

/* ---- the output ---- */

/* CLI_GO_ON, or what the command is to return: where the reader has gone away it ends without a
 * word, as it would by SIGPIPE. Of another fault main says what it was. */
static int written(bool ok)
{
    if (ok) {
        return CLI_GO_ON;
    }
    if (interrupt_came()) {
        return interrupt_exit();
    }
    return errno == EPIPE ? 128 + SIGPIPE : CLI_OK;
}

static bool add_event(struct tail *t, struct daybook_buffer *line,
                      const struct daybook_event *event)
{
    if (t->json) {
        return event_json_add(line, event);
    }
    struct event_text_style style = event_text_style_of_stdout();
    return event_text_add(line, event, &style);
}

static int no_memory(void)
{
    cli_error("not enough memory");
    return CLI_FAILED;
}

static int print(struct tail *t, const struct daybook_event *event)
{
    t->line.n = 0;
    t->printed++;
    if (!add_event(t, &t->line, event)) {
        return no_memory();
    }
    return written(fwrite(t->line.p, 1, t->line.n, stdout) == t->line.n);
}

/* Whether nobody reads what is printed any more, which a pipe only tells who asks. */
static bool reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

/* ---- running ---- */

/* Told by the library before it tries again. */
static void on_waiting(void *arg, const char *reason, uint64_t wait_ms)
{
    struct tail *t = arg;
    (void)wait_ms;
    if (t->connected && !t->away && !interrupt_came()) {
        t->away = true;
        (void)fprintf(stderr, "waiting for the server: %s\n", reason);
    }
}

static void is_there(struct tail *t)
{
    t->connected = true;
    if (t->away) {
        t->away = false;
        (void)fprintf(stderr, "the server is there again\n");
    }
}

static int fail(const struct tail *t)
{
    if (interrupt_came()) {
        return interrupt_exit();
    }
    return cli_fail(t->db, t->follow.read.stream != NULL ? t->follow.read.stream : "tail");
}

static int run(struct tail *t, const struct cli_globals *globals)
{
    const struct daybook_options options = {
        .retry_ms = CLI_RETRY_MS,
        .user_agent = "daybook/" DAYBOOK_VERSION,
        .waiting = on_waiting,
        .waiting_arg = t,
    };
    t->db = cli_connect(globals, &options);
    if (t->db == NULL) {
        return CLI_FAILED;
    }
    daybook_buffer_init(&t->line, LINES_BYTES_MAX);
    interrupt_watch(t->db);
    int result = t->newest > 0 ? print_newest(t) : CLI_GO_ON;
    if (result == CLI_GO_ON) {
        result = follow(t);
    }
    interrupt_forget();
    daybook_buffer_done(&t->line);
    daybook_close(t->db);
    return result;
}

/* ---- the newest ---- */

/* The head's number. A stream that was never written has none yet. */
static enum daybook_result get_head(struct tail *t, uint64_t *ret)
{
    struct daybook_status status;
    struct daybook_stream_info info;
    enum daybook_result result;
    if (t->follow.read.stream == NULL) {
        result = daybook_get_status(t->db, &status);
        *ret = result == DAYBOOK_OK ? status.position : 0;
        return result;
    }
    result = daybook_get_stream(t->db, t->follow.read.stream, &info);
    *ret = result == DAYBOOK_OK ? info.head_revision : 0;
    return result == DAYBOOK_ERR_NOT_FOUND ? DAYBOOK_OK : result;
}

/* Their lines, the newest first: one buffer, in which each line ends at one of `ends`. */
static int add_lines(struct tail *t, const struct daybook_read_options *o,
                     struct daybook_buffer *ret_ends)
{
    struct daybook_events *events = NULL;
    const struct daybook_event *event = NULL;
    enum daybook_result result = daybook_read(t->db, o, &events);
    bool ok = true;
    while (ok && result == DAYBOOK_OK &&
           (result = daybook_events_next(events, &event)) == DAYBOOK_OK) {
        ok = add_event(t, &t->line, event) &&
             daybook_buffer_add(ret_ends, &t->line.n, sizeof t->line.n);
    }
    daybook_events_free(events);
    return !ok ? no_memory() : result == DAYBOOK_END ? CLI_GO_ON : fail(t);
}

static int print_lines(struct tail *t, const struct daybook_buffer *ends)
{
    bool ok = true;
    size_t end = t->line.n;
    t->printed = ends->n / sizeof end;
    for (uint64_t i = t->printed; ok && i > 0; i--) {
        size_t begin = 0;
        if (i > 1) {
            memcpy(&begin, ends->p + (i - 2) * sizeof begin, sizeof begin);
        }
        ok = fwrite(t->line.p + begin, 1, end - begin, stdout) == end - begin;
        end = begin;
    }
    return written(ok);
}

static int print_newest(struct tail *t)
{
    struct daybook_buffer ends;
    struct daybook_read_options o = t->follow.read;
    uint64_t head = 0;
    if (get_head(t, &head) != DAYBOOK_OK) {
        return fail(t);
    }
    if (head == 0) {
        return CLI_GO_ON;
    }
    o.backward = true;
    o.before = head + 1;
    o.limit = t->max > 0 && t->max < t->newest ? t->max : t->newest;
    daybook_buffer_init(&ends, LINES_BYTES_MAX);
    int result = add_lines(t, &o, &ends);
    if (result == CLI_GO_ON) {
        result = print_lines(t, &ends);
        t->connected = true;
        t->follow.first_retry_ms = DAYBOOK_RETRY_FOREVER;
    }
    daybook_buffer_done(&ends);
    t->follow.read.after = head;
    return result;
}

/* ---- what comes ---- */

/* CLI_GO_ON, or what the command is to return. */
static int take(struct tail *t, const struct daybook_followed *followed)
{
    int result = CLI_GO_ON;
    is_there(t);
    switch (followed->kind) {
    case DAYBOOK_FOLLOWED_EVENT:
        result = print(t, followed->event);
        break;
    case DAYBOOK_FOLLOWED_CAUGHT_UP:
        result = t->until_caught_up ? CLI_OK : CLI_GO_ON;
        break;
    case DAYBOOK_FOLLOWED_HEARTBEAT:
        result = reader_is_gone() ? 128 + SIGPIPE : CLI_GO_ON;
        break;
    }
    if (result == CLI_GO_ON && !followed->ready) {
        result = written(fflush(stdout) == 0);
    }
    return result;
}

static int follow(struct tail *t)
{
    struct daybook_follower *follower = NULL;
    const struct daybook_followed *followed = NULL;
    if (t->max > 0 && t->printed >= t->max) {
        return CLI_OK;
    }
    t->follow.read.limit = t->max > 0 ? t->max - t->printed : 0;
    int result = written(fflush(stdout) == 0);
    enum daybook_result next = daybook_follow(t->db, &t->follow, &follower);
    while (result == CLI_GO_ON && next == DAYBOOK_OK &&
           (next = daybook_follow_next(follower, &followed)) == DAYBOOK_OK) {
        result = take(t, followed);
    }
    daybook_follow_free(follower);
    if (result != CLI_GO_ON) {
        return result;
    }
    return next == DAYBOOK_END ? CLI_OK : fail(t);
}
