/* bench_http: the bare libmicrohttpd handler, the limit that Daybook's appends are measured
 * against.
 *
 *   bench_http [PORT]      (default 0: any free port of 127.0.0.1)
 *
 * It is what is left of the server when everything of Daybook is taken away: one epoll thread reads
 * a POST and its body, looks at no byte of it, and answers 201 with a fixed body about as long as
 * the answer to an append. It prints "port N" and stays until SIGTERM or SIGINT. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 1024

static char answer_body[] =
    "{\"stream\":\"order-12345\",\"first_revision\":42,\"last_revision\":42,"
    "\"first_position\":1234567,\"last_position\":1234567,\"duplicate\":false}";

/* A response is made for every request, as a server must whose answers differ. */
static enum MHD_Result answer(struct MHD_Connection *connection)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof answer_body - 1, answer_body, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_CREATED, response);
    MHD_destroy_response(response);
    return queued;
}

/* Called once with the head, then with pieces of the body, then with an empty piece. */
static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *body,
                              size_t *body_n, void **request)
{
    static char seen;
    (void)context;
    (void)url;
    (void)method;
    (void)version;
    (void)body;
    if (*request == NULL) {
        *request = &seen;
        return MHD_YES;
    }
    if (*body_n != 0) {
        *body_n = 0;
        return MHD_YES;
    }
    return answer(connection);
}

int main(int argc, char **argv)
{
    unsigned long port = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);

    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, (uint16_t)port, NULL, NULL,
                         handle, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_END);
    if (daemon == NULL) {
        fprintf(stderr, "bench_http: cannot listen on 127.0.0.1:%lu\n", port);
        return EXIT_FAILURE;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    printf("port %u\n", info == NULL ? (unsigned)port : info->port);
    fflush(stdout);

    int signal_number;
    sigwait(&stop, &signal_number);
    MHD_stop_daemon(daemon);
    return EXIT_SUCCESS;
}
