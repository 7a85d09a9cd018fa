/* Load on NATS JetStream by its C client: nats_load URL WORKLOAD CONNECTIONS SECONDS STREAMS
 * EVENTS; prints a line of JSON. Built and run by nats_peer.py alone; it is no part of Daybook.
 *
 * Workloads: create (the JetStream stream `events` over all subjects), append (one message, if the
 * subject's last sequence is the one known), batch (1,000 messages, then their answers), fill
 * (STREAMS subjects of EVENTS), read-stream (a subject by an ordered consumer), replay. */
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD = 256, BATCH = 1000, KNOWN = 200, WAIT_MS = 30000 };

struct load {
    const char *url, *workload;
    double seconds;
    int connections, streams, events;
};

struct connection {
    const struct load *load;
    pthread_t thread;
    int number;
    unsigned dice;
    natsConnection *nats;
    jsCtx *js;
    uint64_t known[KNOWN]; /* last sequence of its own subjects */
    double *times;         /* seconds of each operation */
    size_t done, room;
};

static char data[PAYLOAD];

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(natsStatus s, const char *what)
{
    if (s != NATS_OK) {
        fprintf(stderr, "nats_load: %s: %s\n", what, natsStatus_GetText(s));
        exit(1);
    }
}

static void connect_to(struct connection *c)
{
    must(natsConnection_ConnectTo(&c->nats, c->load->url), "connect");
    must(natsConnection_JetStream(&c->js, c->nats, NULL), "JetStream");
}

static void disconnect(struct connection *c)
{
    jsCtx_Destroy(c->js);
    natsConnection_Destroy(c->nats);
}

static void create(struct connection *c)
{
    jsStreamConfig config;
    const char *subjects[] = {"events.>"};
    jsStreamConfig_Init(&config);
    config.Name = "events";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    must(js_AddStream(NULL, c->js, &config, NULL, NULL), "create");
}

/* Each connection has subjects of its own, so that the expectation holds. */
static void append(struct connection *c)
{
    char subject[64];
    int n = (int)(rand_r(&c->dice) % KNOWN);
    jsPubOptions options;
    jsPubAck *ack;
    jsPubOptions_Init(&options);
    options.MaxWait = WAIT_MS;
    options.ExpectLastSubjectSeq = c->known[n];
    options.ExpectNoMessage = c->known[n] == 0;
    snprintf(subject, sizeof subject, "events.order-%d-%d-%d", (int)getpid(), c->number, n);
    must(js_Publish(&ack, c->js, subject, data, PAYLOAD, &options, NULL), "publish");
    c->known[n] = ack->Sequence;
    jsPubAck_Destroy(ack);
}

static void await_published(struct connection *c)
{
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MaxWait = WAIT_MS;
    must(js_PublishAsyncComplete(c->js, &options), "answers");
}

static void publish(struct connection *c, const char *prefix, int n)
{
    char subject[64];
    snprintf(subject, sizeof subject, "events.%s-%d", prefix, n);
    must(js_PublishAsync(c->js, subject, data, PAYLOAD, NULL), "publish");
}

static void batch(struct connection *c)
{
    for (int i = 0; i < BATCH; i++) {
        publish(c, "batch", (int)(rand_r(&c->dice) % (unsigned)c->load->streams));
    }
    await_published(c);
}

static void fill(struct connection *c)
{
    for (int e = 0; e < c->load->events; e++) {
        for (int s = 0; s < c->load->streams; s++) {
            publish(c, "read", s);
            if (s % BATCH == BATCH - 1) {
                await_published(c);
            }
        }
        await_published(c);
    }
}

static void read_subject(struct connection *c, const char *subject, int events)
{
    natsSubscription *subscription;
    natsMsg *message;
    jsSubOptions options;
    jsSubOptions_Init(&options);
    options.Ordered = true;
    options.Stream = "events";
    must(js_SubscribeSync(&subscription, c->js, subject, NULL, &options, NULL), "subscribe");
    must(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
    for (int i = 0; i < events; i++) {
        must(natsSubscription_NextMsg(&message, subscription, WAIT_MS), "next message");
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
}

static void read_stream(struct connection *c)
{
    char subject[64];
    snprintf(subject, sizeof subject, "events.read-%d",
             (int)(rand_r(&c->dice) % (unsigned)c->load->streams));
    read_subject(c, subject, c->load->events);
}

static void note(struct connection *c, double seconds)
{
    if (c->done == c->room) {
        c->room = c->room == 0 ? 4096 : c->room * 2;
        c->times = realloc(c->times, c->room * sizeof *c->times);
        if (c->times == NULL) {
            abort();
        }
    }
    c->times[c->done++] = seconds;
}

static void *run_connection(void *ctx)
{
    struct connection *c = ctx;
    const char *workload = c->load->workload;
    void (*operation)(struct connection *) = strcmp(workload, "append") == 0  ? append
                                             : strcmp(workload, "batch") == 0 ? batch
                                                                              : read_stream;
    connect_to(c);
    double end = now_s() + c->load->seconds, begun;
    while ((begun = now_s()) < end) {
        operation(c);
        note(c, now_s() - begun);
    }
    disconnect(c);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_many(const struct load *load)
{
    struct connection *all = calloc((size_t)load->connections, sizeof *all);
    struct connection sum = {0};
    double begun = now_s();
    for (int i = 0; i < load->connections; i++) {
        all[i] = (struct connection){.load = load, .number = i, .dice = (unsigned)i + 1};
        pthread_create(&all[i].thread, NULL, run_connection, &all[i]);
    }
    for (int i = 0; i < load->connections; i++) {
        pthread_join(all[i].thread, NULL);
        for (size_t t = 0; t < all[i].done; t++) {
            note(&sum, all[i].times[t]);
        }
        free(all[i].times);
    }
    double took = now_s() - begun;
    size_t each = strcmp(load->workload, "batch") == 0 ? BATCH : 1;
    if (sum.done == 0) {
        fprintf(stderr, "nats_load: nothing was done in %g s\n", load->seconds);
        exit(1);
    }
    qsort(sum.times, sum.done, sizeof *sum.times, by_value);
    printf("{\"per_s\": %.1f, \"p99_us\": %.1f}\n", (double)(sum.done * each) / took,
           sum.times[sum.done * 99 / 100] * 1e6);
    free(sum.times);
    free(all);
}

static void run_one(const struct load *load)
{
    struct connection c = {.load = load};
    connect_to(&c);
    double begun = now_s();
    if (strcmp(load->workload, "create") == 0) {
        create(&c);
    } else if (strcmp(load->workload, "fill") == 0) {
        fill(&c);
    } else {
        read_subject(&c, "events.>", load->events);
    }
    printf("{\"per_s\": %.1f}\n", load->events / (now_s() - begun));
    disconnect(&c);
}

static int number(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: nats_load URL WORKLOAD CONNECTIONS SECONDS STREAMS EVENTS\n");
        return 2;
    }
    struct load load = {argv[1],         argv[2],         strtod(argv[4], NULL),
                        number(argv[3]), number(argv[5]), number(argv[6])};
    memset(data, 'x', sizeof data);
    bool alone = strcmp(load.workload, "create") == 0 || strcmp(load.workload, "fill") == 0 ||
                 strcmp(load.workload, "replay") == 0;
    (alone ? run_one : run_many)(&load);
    nats_Close();
    return 0;
}
