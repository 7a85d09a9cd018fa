/* http_listen: the listening socket, shared by all loops. */
#include "server/http_int.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel lowers it to net.core.somaxconn. */
#define BACKLOG 4096

static int open_socket(const struct addrinfo *address);

err_t http_listen(const char *host, unsigned port, int *ret_fd, struct err_text *et)
{
    bool any = host[0] == '\0' || strcmp(host, "*") == 0;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    char service[16];
    snprintf(service, sizeof service, "%u", port);
    int code = getaddrinfo(any ? NULL : host, service, &hints, &addresses);
    if (code != 0) {
        return err_set(et, ERR_INVALID, "cannot listen on %s: %s", any ? "*" : host,
                       gai_strerror(code));
    }
    int fd = -1;
    /* IPv6 first where any address will do, because that socket takes IPv4 as well. */
    for (int pass = any ? 0 : 1; fd < 0 && pass < 2; pass++) {
        for (struct addrinfo *a = addresses; fd < 0 && a != NULL; a = a->ai_next) {
            fd = pass == 0 && a->ai_family != AF_INET6 ? -1 : open_socket(a);
        }
    }
    int cause = errno;
    freeaddrinfo(addresses);
    if (fd >= 0) {
        *ret_fd = fd;
        return ERR_OK;
    }
    if (cause == EADDRINUSE) {
        return err_set(et, ERR_IO, "cannot listen on %s port %u: another process listens there",
                       any ? "*" : host, port);
    }
    return err_set(et, ERR_IO, "cannot listen on %s port %u: %s", any ? "*" : host, port,
                   strerror(cause));
}

unsigned http_listen_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t n = sizeof address;
    if (getsockname(fd, &address.any, &n) != 0) {
        return 0;
    }
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

/* -1 with errno set. Accepted sockets inherit TCP_NODELAY. */
static int open_socket(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    int off = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (address->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}
