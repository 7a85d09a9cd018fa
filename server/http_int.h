/* http_int: what the http*.c files share. All belongs to one loop and its thread, except where a
 * field says otherwise. Only server/http*.c include this file and <microhttpd.h>. */
#ifndef DAYBOOK_SERVER_HTTP_INT_H
#define DAYBOOK_SERVER_HTTP_INT_H

#include "server/http.h"
#include "server/http_address.h"
#include "server/http_target.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

struct http_loop;

/* What a connection is being waited for; each has a list of its own, in order of the deadlines. */
enum conn_wait {
    WAIT_FIRST_HEADER, /* from accept to the end of the first header */
    WAIT_NEXT_HEADER,  /* from a response to the end of the next header */
    WAIT_BODY,         /* from the header to the end of the body */
    WAIT_LINGER,       /* refused; its body is read and dropped so that the refusal arrives */
    WAIT_COUNT,
    WAIT_NOTHING = WAIT_COUNT,
};

struct conn {
    struct http_loop *loop;
    struct MHD_Connection *mhd;
    struct http_request *rq; /* the one in progress, or NULL */
    int fd;
    enum conn_wait waiting_for;
    int64_t deadline_us;
    bool looked_at;           /* in this wait, for a hang-up */
    struct conn *prev, *next; /* in its wait list */
    struct address *address;  /* NULL where addresses are not counted */
    char peer[ADDRESS_TEXT_BYTES];
};

struct conn_list {
    struct conn *head, *tail;
};

enum request_stage {
    STAGE_HEADER,     /* the request line was seen */
    STAGE_BODY,       /* the header was accepted */
    STAGE_DISCARDING, /* refused on the socket; what still comes is dropped */
    STAGE_HANDLED,    /* given to the handler */
};

/* How a request waits for http_resume. Pending costs no system call: libmicrohttpd asks for it
 * again at each turn of the loop. So this is for few requests and a few milliseconds; after that
 * the connection is suspended, which costs five system calls but then nothing. */
enum request_waiting { WAITING_NOT, WAITING_PENDING, WAITING_SUSPENDED };

struct header {
    struct bytes name, value;
};

#define HEADERS_INLINE       24
#define REPLY_HEADERS_INLINE 8
#define REPLY_HEADERS_MAX    128
#define STATUS_NOT_REPLIED   0

struct http_request {
    struct http_loop *loop;
    struct conn *conn;          /* NULL once the connection is gone */
    struct MHD_Connection *mhd; /* NULL once the connection is gone */
    enum request_stage stage;
    enum http_method method;
    struct arena arena;
    struct buf body;
    size_t body_counted; /* in http.body_bytes */
    const char *uri; /* where libmicrohttpd has the target; only for checking the request line */
    const uint8_t *raw_target; /* a copy */
    size_t uri_bytes;
    struct http_target target;
    const char *target_fault; /* NULL: the target could be taken apart */
    struct header *headers; /* values are libmicrohttpd's memory, copied when the connection goes */
    size_t header_count, header_cap;
    struct header headers_inline[HEADERS_INLINE];
    uint64_t content_length;
    bool chunked, expects_continue, is_http10;
    bool raw;     /* the reply goes to the socket, past libmicrohttpd, and the connection ends */
    bool in_call; /* application code is on the stack: the request must not be freed */
    bool dead, waited_long; /* to be closed without another word; by http_suspend_long */
    unsigned status, route_number;
    uint64_t response_bytes, sent_bytes; /* of the body; of a detached one: on the wire */
    uint64_t reply_turn;          /* the loop's turn in which libmicrohttpd was given the reply */
    struct header *reply_headers; /* both strings end with NUL */
    size_t reply_header_count, reply_header_cap;
    struct header reply_headers_inline[REPLY_HEADERS_INLINE];
    http_next_fn next_block;
    void (*stream_free)(void *ctx);
    void *stream_ctx;
    struct buf head; /* of a detached one: the response's header until it is sent */
    size_t head_sent;
    enum request_waiting waiting;
    int64_t waiting_since_us;
    struct http_request *wait_prev, *wait_next;
    void (*resumed)(struct http_request *rq, void *ctx);
    void *resumed_ctx;
    struct http_request *next_completed; /* any thread; see http_resume */

    int64_t started_us;
    const char *peer, *route;
    void *context;
    void (*context_free)(void *ctx);
    struct http_request *next_free;
};

struct request_list {
    struct http_request *head, *tail;
    size_t n;
};

struct http_loop {
    struct http *http;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    bool started;
    int epoll_fd;
    int event_fd;
    int64_t now_us, look_us; /* read once a turn; when to look for hang-ups again */
    uint64_t turn;
    bool in_run;           /* inside MHD_run */
    bool suspended_any;    /* since end_turn was called last */
    bool ending_turn;      /* inside options.end_turn; its own thread looks at it */
    bool busy;             /* there is more to do than libmicrohttpd's events will tell */
    size_t unsent;         /* replies given to libmicrohttpd in this turn and not completed in it */
    _Atomic bool quiesced; /* calls no handler any more */
    struct conn_list waits[WAIT_COUNT];
    struct request_list pending, suspended; /* by waiting_since_us */
    size_t open, open_peak;                 /* connections */
    size_t requests;                        /* in use */
    struct http_request *newest;            /* of which a request line came last, or NULL */
    struct http_request *free_requests;
    size_t free_count;
    /* Any thread pushes; a stack through next_completed. */
    _Atomic(struct http_request *) completed;
    _Atomic unsigned active; /* handled, not replied; others read it */
};

struct http {
    struct http_options options;
    char *host;
    unsigned port;
    unsigned loop_count;
    struct http_loop *loops;
    _Atomic bool draining;
    _Atomic bool stopping;
    _Atomic unsigned connections;
    _Atomic size_t body_bytes; /* of large bodies, in memory now */
    struct address_table addresses;
};

/* http_listen.c */
MUST_CHECK err_t http_listen(const char *host, unsigned port, int *ret_fd, struct err_text *et);
unsigned http_listen_port(int fd);

/* http_connection.c: callbacks of libmicrohttpd, and the deadlines */
enum MHD_Result http_on_accept(void *cls, const struct sockaddr *peer, socklen_t n);
void http_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                        enum MHD_ConnectionNotificationCode code);
void http_conn_wait(struct conn *c, enum conn_wait what);
void http_conns_expire(struct http_loop *loop);
void http_conns_look(struct http_loop *loop);
int64_t http_conns_deadline_us(const struct http_loop *loop); /* the next one, or INT64_MAX */
void http_conns_trim(struct http_loop *loop);

/* http_request.c: the way of a request; callbacks of libmicrohttpd */
void *http_on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_bytes, void **request);
void http_on_completed(void *cls, struct MHD_Connection *mhd, void **request,
                       enum MHD_RequestTerminationCode why);
void http_on_log(void *cls, const char *format, va_list args);
void http_refuse_raw(struct http_request *rq, enum http_refusal why, const char *detail);
void http_request_free(struct http_request *rq);
void http_request_shrink(struct http_request *rq); /* keeps what is logged at its end */
void http_requests_free_kept(struct http_loop *loop);
const char *http_framing_fault(struct http_request *rq, const char *method, const char *version);
void http_headers_keep(struct http_request *rq);

/* http_reply.c: closes, where not even an error can be sent; books the status; writes status line
 * and headers, but for the empty line, of a response that ends the connection. */
void http_reply_failed(struct http_request *rq);
void http_reply_begin(struct http_request *rq, unsigned status, const char *content_type);
void http_reply_put_head(struct http_request *rq, struct buf *b);

/* http_wait.c: requests that wait for http_resume */
void http_waits_complete(struct http_loop *loop); /* runs the continuations of the resumed */
void http_waits_settle(struct http_loop *loop);   /* suspends what has been pending for long */
void http_waits_abandon(struct http_loop *loop);  /* ends all that wait, without continuations */
void http_wait_remove(struct http_request *rq);
int64_t http_clock_us(void);
void http_loop_wake(struct http_loop *loop);

#endif
