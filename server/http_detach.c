/* http_detach: responses that stay open for long and are written by another thread, past
 * libmicrohttpd.
 *
 * The handler detaches the request: its connection is suspended at once, so libmicrohttpd neither
 * looks at the socket nor times it out, and the owner writes to the socket: the response's header
 * and then the body, chunked, or to an HTTP/1.0 client as it is, until the connection ends. To end,
 * the owner writes the last chunk and resumes the request; back on its loop it is marked dead, so
 * libmicrohttpd asks once more, is told to close, and books the connection out as always.
 *
 * What else can happen:
 * - The peer goes away. Only the owner sees it, by a hang-up on the socket it watches or by a send
 *   that fails, and ends the response; until then the descriptor stays open and cannot be another
 *   connection's.
 * - The owner is done before the handler has returned. The resume is looked at between two runs of
 *   libmicrohttpd only, and what still runs of the handler's call touches nothing of the request.
 * - No memory for the header. Nothing can be sent: the first send says ERR_CLOSED.
 *
 * Once connections may be encrypted, the session's records have to be written here instead of plain
 * bytes; nothing outside of this file would change. */
#include "server/http_int.h"

#include "storage/base/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define CHUNK_LINE_BYTES 24

static void on_end(struct http_request *rq, void *ctx);
static void tune_socket(const struct http_request *rq);

void http_detach(struct http_request *rq, unsigned status, const char *content_type)
{
    CHECK(!rq->raw);
    http_suspend_long(rq, on_end, NULL);
    http_reply_begin(rq, status, content_type);
    http_reply_put_head(rq, &rq->head);
    buf_put_string(&rq->head, rq->is_http10 ? "\r\n" : "Transfer-Encoding: chunked\r\n\r\n");
    http_request_shrink(rq);
    tune_socket(rq);
}

/* The parts of a block on the wire, less what is sent of them already. */
static size_t cut_parts(struct iovec parts[], size_t n, size_t sent)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t cut = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= cut;
        if (cut < parts[i].iov_len) {
            parts[kept++] =
                (struct iovec){(uint8_t *)parts[i].iov_base + cut, parts[i].iov_len - cut};
        }
    }
    return kept;
}

static struct iovec part_of(const void *p, size_t n)
{
    return (struct iovec){(void *)(uintptr_t)p, n}; /* sendmsg only reads */
}

/* One send for all that is there: header, the chunk's line, its bytes, its end. */
err_t http_detached_send(struct http_request *rq, struct bytes block, size_t *sent)
{
    if (buf_status(&rq->head) != ERR_OK) {
        return ERR_CLOSED;
    }
    char line[CHUNK_LINE_BYTES];
    bool chunked = block.n > 0 && !rq->is_http10;
    int line_bytes = chunked ? snprintf(line, sizeof line, "%zx\r\n", block.n) : 0;
    size_t head = rq->head.n - rq->head_sent;
    struct iovec parts[] = {
        part_of(head > 0 ? rq->head.p + rq->head_sent : NULL, head),
        part_of(line, (size_t)line_bytes),
        part_of(block.p, block.n),
        part_of("\r\n", chunked ? 2 : 0),
    };
    size_t all = head + parts[1].iov_len + parts[2].iov_len + parts[3].iov_len - *sent;
    size_t n = head > 0 ? 1 : 0;
    n += cut_parts(parts + n, 4 - n, *sent);
    if (all == 0) {
        return ERR_OK;
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n};
    ssize_t done = sendmsg(rq->conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done < 0) {
        return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? ERR_FULL : ERR_CLOSED;
    }
    rq->sent_bytes += (uint64_t)done;
    size_t of_head = (size_t)done < head ? (size_t)done : head;
    rq->head_sent += of_head;
    *sent += (size_t)done - of_head;
    if (head > 0 && rq->head_sent == rq->head.n) {
        buf_done(&rq->head);
        rq->head_sent = 0;
    }
    if ((size_t)done < all) {
        return ERR_FULL;
    }
    rq->response_bytes += block.n;
    return ERR_OK;
}

uint64_t http_detached_acknowledged(const struct http_request *rq, bool *ret_all)
{
    int waiting = 0;
    bool known = ioctl(rq->conn->fd, TIOCOUTQ, &waiting) == 0 && waiting > 0;
    *ret_all = !known;
    return rq->sent_bytes - (known ? (uint64_t)waiting : 0);
}

void http_detached_end(struct http_request *rq, bool whole)
{
    size_t sent = 0;
    bool has_head = http_detached_send(rq, BYTES_NONE, &sent) == ERR_OK;
    if (whole && has_head && !rq->is_http10) {
        (void)!send(rq->conn->fd, "0\r\n\r\n", 5, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (whole && has_head) {
        shutdown(rq->conn->fd, SHUT_WR);
    } else {
        /* A reset, so that an HTTP/1.0 client does not take what it has for all there is. */
        struct linger none = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(rq->conn->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    rq->dead = true;
    http_resume(rq);
}

/* On the loop's thread again; libmicrohttpd closes it. */
static void on_end(struct http_request *rq, void *ctx)
{
    (void)ctx;
    CHECK(rq->dead);
}

/* Events go out at once. There is no TCP_USER_TIMEOUT: Linux counts it on while a peer with a small
 * window keeps reading. The owner asks what is acknowledged instead. */
static void tune_socket(const struct http_request *rq)
{
    int on = 1;
    (void)setsockopt(rq->conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}
