/* client_int: what the files of the client library share. */
#ifndef DAYBOOK_CLIENT_INT_H
#define DAYBOOK_CLIENT_INT_H

#include "arena.h"
#include "buffer.h"
#include "daybook.h"
#include "daybook/v1/commands.pb-c.h"

#include <curl/curl.h>
#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>

#define DAYBOOK_PROTOBUF "application/x-protobuf"
#define DAYBOOK_JSON     "application/json"
/* ---- one HTTP exchange (http.c) ---- */

/* A request that is no GET or POST in protobuf. */
struct daybook_shape {
    const char *method; /* NULL: GET, or POST where there is a body */
    const char *media;  /* of its answer; NULL: JSON */
    struct curl_slist *headers;
    bool once; /* not to be sent again where it may have arrived */
};

/* A request that runs on the handle's multi; the answer's body gathers in `body`. While that holds
 * body_target bytes or more of a 200 answer the transfer is paused. */
struct daybook_transfer {
    struct daybook *db;
    CURL *easy;                        /* owned */
    const struct daybook_shape *shape; /* NULL: protobuf both ways */
    struct daybook_buffer body;
    size_t body_target;
    uint64_t timeout_ms; /* of silence; 0: none */
    uint64_t active_ms;  /* when bytes moved last */
    curl_off_t moved;    /* bytes in both directions so far */
    bool running;        /* it is on the multi */
    bool paused;
    bool headed;      /* the answer's header came to its end */
    bool overflow;    /* the body is over its maximum, or there is no memory for it */
    CURLcode outcome; /* once it is not running */
    long status;      /* of the answer; 0 where none came */
    char error[CURL_ERROR_SIZE];
};

/* A step on the way to an answer; see daybook_http_retry. */
struct daybook_retry {
    uint64_t since_ms; /* when it began to fail; 0: it does not */
    uint64_t wait_ms;  /* of the last wait */
    uint64_t limit_ms; /* how long to try; 0: as the handle's options say */
};

bool daybook_transfer_init(struct daybook_transfer *t, struct daybook *db, size_t body_max);
void daybook_transfer_done(struct daybook_transfer *t);
/* Starts a GET (post NULL) or a POST, whose bytes must stay until the transfer has stopped. False:
 * no memory. */
bool daybook_transfer_start(struct daybook_transfer *t, const char *url,
                            const struct daybook_bytes *post);
/* Takes it off the multi; `outcome` is kept. */
void daybook_transfer_stop(struct daybook_transfer *t);
/* Goes on until the body has more than `n` bytes or the exchange is over. */
void daybook_transfer_wait(struct daybook_transfer *t, size_t n);
/* Whether an exchange that is over is to be made again; if so, waits first. */
bool daybook_http_retry(const struct daybook_transfer *t, struct daybook_retry *retry);
/* The same where the caller knows the reason; false: it was tried for long enough, or must not
 * be. */
bool daybook_http_wait(const struct daybook_transfer *t, const char *reason,
                       struct daybook_retry *retry);
/* A whole exchange with retries on the handle's own transfer; the body is in db->call.body.
 * Anything but an answer 2xx in protobuf is a failure with its problem set. */
enum daybook_result daybook_http_call(struct daybook *db, const struct daybook_buffer *url,
                                      const struct daybook_bytes *post);
/* The same for a request in JSON. One that the model is too old for is not made again. */
enum daybook_result daybook_http_call_json(struct daybook *db, const struct daybook_buffer *url,
                                           const struct daybook_bytes *post,
                                           const struct daybook_shape *shape);

/* ---- the handle (client.c) ---- */

struct daybook {
    char *base_url; /* owned, as all below; no '/' at its end */
    char *user_agent;
    struct daybook_options options; /* with the defaults filled in */
    bool direct;                    /* the server is on this machine: no proxy */
    CURLM *multi;
    int interrupt_fd;        /* an eventfd that wakes up whatever waits; owned; -1: none */
    atomic_bool interrupted; /* for good */
    struct curl_slist *get_headers, *post_headers;
    struct daybook_transfer call; /* of every call but iterators */
    struct daybook_buffer url, request;
    struct daybook_arena arena;   /* results of the last call */
    struct daybook_buffer values; /* of the last query */
    struct daybook_arena problem_arena;
    struct daybook_problem problem;
};

uint64_t daybook_now_ms(void);
/* For unpacking into an arena: what is unpacked is never freed one by one. */
ProtobufCAllocator daybook_arena_allocator(struct daybook_arena *arena);

/* ---- problems (problem.c) ---- */

/* Each sets the handle's problem and returns its result. */
enum daybook_result daybook_fail(struct daybook *db, enum daybook_result result, const char *title,
                                 const char *detail, const char *hint);
enum daybook_result daybook_fail_argument(struct daybook *db, const char *detail);
enum daybook_result daybook_fail_memory(struct daybook *db);
enum daybook_result daybook_fail_protocol(struct daybook *db, const char *detail);
/* What the outcome of a transfer that is over says. */
enum daybook_result daybook_fail_transfer(struct daybook_transfer *t);
/* Whether it ended with an answer 2xx in the encoding that was asked for. */
bool daybook_transfer_ok(const struct daybook_transfer *t);

/* ---- URLs (url.c) ---- */

/* Each adds to a URL that daybook_url_begin began, and fails for lack of memory only. */
bool daybook_url_begin(const struct daybook *db, struct daybook_buffer *url, const char *path);
/* A name as one path segment. */
bool daybook_url_segment(struct daybook_buffer *url, const char *name);
/* "?name=value" or "&name=value"; `mark` is '?' before the first and turned into '&'. */
bool daybook_url_text(struct daybook_buffer *url, char *mark, const char *name, const char *value);
bool daybook_url_number(struct daybook_buffer *url, char *mark, const char *name, uint64_t value);
bool daybook_url_end(struct daybook_buffer *url);

/* ---- JSON (projection_json.c, rows.c) ---- */

/* Each reads the body of the last answer into the handle's arena; DAYBOOK_ERR_PROTOCOL, or
 * DAYBOOK_ERR_MEMORY, with the problem set. */
enum daybook_result daybook_json_projection(struct daybook *db, struct daybook_projection *ret);
enum daybook_result daybook_json_projections(struct daybook *db,
                                             const struct daybook_projection **ret, size_t *ret_n);
enum daybook_result daybook_json_dry_run(struct daybook *db, struct daybook_dry_run *ret);
enum daybook_result daybook_json_errors(struct daybook *db, struct daybook_projection_errors *ret);
enum daybook_result daybook_json_schema(struct daybook *db, const struct daybook_table **ret,
                                        size_t *ret_n);
enum daybook_result daybook_json_rows(struct daybook *db, struct daybook_rows *ret,
                                      uint64_t *ret_position);
/* A number's value out of its digits. */
void daybook_json_number(struct daybook_value *value);
/* The body of a query. DAYBOOK_ERR_ARGUMENT, DAYBOOK_ERR_MEMORY. */
enum daybook_result daybook_json_query(struct daybook *db, const struct daybook_query *query);

/* ---- an EventBatch that is arriving (arrival.c) ---- */

/* Fields of an EventBatch. */
#define DAYBOOK_FIELD_EVENTS   1
#define DAYBOOK_FIELD_CONTROLS 2

struct daybook_field {
    uint32_t number;
    struct daybook_bytes bytes; /* what is in it; in the transfer's body */
    size_t size;                /* header included; of a part: as far as that can be said */
};

enum daybook_front {
    DAYBOOK_FRONT_FIELD,
    DAYBOOK_FRONT_PART, /* of a field, or nothing */
    DAYBOOK_FRONT_DAMAGED,
};

enum daybook_reading {
    DAYBOOK_READING_TO_THE_END,
    DAYBOOK_READING_ON,  /* and what comes after it */
    DAYBOOK_READING_NEW, /* only what comes from now on: `after` must be 0 */
};

struct daybook_arrival {
    struct daybook_transfer transfer;
    struct daybook_buffer url;
    size_t consumed; /* bytes at the front of the transfer's body */
};

/* What lies at the front of `have` bytes. */
enum daybook_front daybook_front_look(const uint8_t *p, size_t have, struct daybook_field *ret);

bool daybook_arrival_init(struct daybook_arrival *a, struct daybook *db);
void daybook_arrival_done(struct daybook_arrival *a);
/* Makes the options' strings the arena's. */
bool daybook_read_options_keep(struct daybook_arena *arena, struct daybook_read_options *options);
/* Begins the request, or makes another. False: no memory. */
bool daybook_arrival_start(struct daybook_arrival *a, const struct daybook_read_options *options,
                           enum daybook_reading reading);
/* The next field, which lives until the next call; waits for it. A part: the exchange is over. */
enum daybook_front daybook_arrival_next(struct daybook_arrival *a, struct daybook_field *ret);
/* Whether the next field is there already. */
bool daybook_arrival_is_ready(const struct daybook_arrival *a);
/* Of an exchange that is over: whether its last field is cut short. */
bool daybook_arrival_is_cut(const struct daybook_arrival *a);

/* ---- expectations (batch.c) ---- */

Daybook__V1__StreamState daybook_state_of(enum daybook_expect_kind kind);

/* ---- events (event.c) ---- */

/* Unpacks an Event into the arena; ret->tags too. False: damaged, or no memory. */
bool daybook_event_unpack(struct daybook_arena *arena, struct daybook_bytes packed,
                          struct daybook_event *ret);

#endif
