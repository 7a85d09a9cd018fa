/* draft: a write as it came from the wire, before it is a command, and the checks that JSON and
 * protobuf bodies share: both decoders fill a draft, draft_check says what is wrong with it, with
 * the same problem codes and field paths, and draft_build makes the command.
 *
 * Loop's thread; one draft per request. All bytes are borrowed from the request's body or live in
 * the draft's arena. */
#ifndef DAYBOOK_SERVER_DRAFT_H
#define DAYBOOK_SERVER_DRAFT_H

#include "server/app.h"
#include "server/reply.h"

#define DRAFT_FIELD_MAX  160
#define DRAFT_DETAIL_MAX 320
#define DRAFT_AGE_MAX_S  (INT64_MAX / 1000000)

/* Which message the body is. */
enum draft_body {
    DRAFT_APPEND,
    DRAFT_APPEND_MANY,
    DRAFT_COMMAND,
    DRAFT_SET_METADATA,
    DRAFT_DELETE_STREAM,
    DRAFT_REDACT,
};

/* How the event's data came. */
enum draft_data {
    DRAFT_DATA_NONE,
    DRAFT_DATA_JSON,   /* JSON's `data`: valid JSON already */
    DRAFT_DATA_BASE64, /* JSON's `data_base64`, decoded */
    DRAFT_DATA_BINARY, /* protobuf's `data` */
};

struct draft_event {
    struct draft_event *next;
    struct event_draft fields; /* type.p is NULL where the body had none */
    enum draft_data data_form;
    bool metadata_is_json; /* it came inside a JSON body, so it is a valid object already */
    uint8_t id[UUID_BYTES];
};

/* An append, or a check, which is one without events. */
struct draft_append {
    struct draft_append *next;
    struct bytes stream; /* .p is NULL where the body had none */
    struct expectation expected;
    bool expected_given;
    struct draft_event *first, *last;
    size_t events;
};

struct draft_list {
    struct draft_append *first, *last;
    size_t n;
};

/* An item of the condition; any number of names, until draft_check has seen it. */
struct draft_item {
    struct draft_item *next;
    struct condition_item fields;
};

struct draft_condition {
    bool given, query_given; /* `condition`, and its fail_if_events_match */
    struct draft_item *first, *last;
    size_t n;
    uint64_t after;
};

/* A write that changes what can be read of one stream. */
struct draft_life {
    enum command_kind kind;     /* COMMAND_APPEND: the draft is of appends */
    struct draft_append target; /* the stream, and what is expected of it; no events */
    struct life_change change;
    bool custom_is_json; /* it came inside a JSON body, so it is a valid object already */
    bool tombstone;
    uint64_t revision;
    bool revision_given;
    struct bytes reason;
};

/* What became of such a write, for both encodings. */
struct life_answer {
    struct bytes stream;
    uint64_t revision; /* of the event that was redacted, else 0 */
    bool duplicate;
    const struct life_result *result;
};

/* What is wrong with a request. */
struct draft_rejection {
    enum problem problem;
    char field[DRAFT_FIELD_MAX];
    char detail[DRAFT_DETAIL_MAX];
};

struct draft;
/* A place in the body, for paths; -1 where there is none. */
struct draft_place {
    long append, check, event;
};
/* Makes the path of a place and its member; `member` may be "". */
typedef void draft_path_fn(const struct draft *d, struct draft_place place, const char *member,
                           char ret[DRAFT_FIELD_MAX]);

struct draft {
    enum draft_body body;
    const struct app_limits *limits;
    struct arena *arena;
    const char *root;    /* what paths begin with: "", "append.", "append_many.", "redact." */
    draft_path_fn *path; /* NULL: paths are those of our messages */
    bool many;           /* there is a list of appends; else exactly one */
    struct draft_list appends, checks;
    struct draft_condition condition;
    size_t events; /* over all appends */
    struct draft_life life;
    struct draft_rejection rejection;
};

void draft_init(struct draft *d, enum draft_body body, const struct app_limits *limits,
                struct arena *arena);

/* For decoders. Add one append, check, event or item of the condition at the end; NULL with the
 * rejection set (limits, memory). */
struct draft_append *draft_add_append(struct draft *d);
struct draft_append *draft_add_check(struct draft *d);
struct draft_event *draft_add_event(struct draft *d, struct draft_append *append);
struct draft_item *draft_add_item(struct draft *d);

/* Sets the rejection; always returns false. `member` may be "" for the place itself. */
bool draft_reject(struct draft *d, enum problem problem, struct draft_place place,
                  const char *member, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The path of a place and its member: "append_many.appends[1].events[3].type". */
void draft_path(const struct draft *d, struct draft_place place, const char *member,
                char ret[DRAFT_FIELD_MAX]);

/* The path of an item of the condition and what follows, which is "" or begins with a dot:
 * "condition.fail_if_events_match.items[2].tags[0]". For draft_reject. */
void draft_item_path(size_t item, const char *rest, char ret[DRAFT_FIELD_MAX]);

/* Checks every field and completes what was left out (data). False with the rejection set. */
bool draft_check(struct draft *d);

/* The command of a checked draft; events without an id get one. False with the rejection set. The
 * caller frees it. */
bool draft_build(struct draft *d, struct command **ret);

/* draft_life.c: what draft_check and draft_build are for a change of a stream's life. */
bool draft_check_life(struct draft *d);
bool draft_build_life(struct draft *d, struct command **ret);
/* Makes the draft one of such a kind; paths begin with `root`. */
void draft_begin_life(struct draft *d, enum command_kind kind, const char *root);
/* Checks a stream's name and what is expected of it. */
bool draft_check_target(struct draft *d, const struct draft_append *target);

/* Whether it is a media type: type/subtype with parameters, ASCII, at most EVENT_MEDIA_MAX
 * bytes. */
bool draft_media_type_is_valid(struct bytes text);

#endif
