/* negotiate: for each media type its most specific range in Accept, and the best of these. */
#include "server/negotiate.h"

#include <strings.h>

/* What a media range may name. Problem documents count as JSON, since clients that ask for JSON get
 * them. */
static const struct {
    const char *name;
    enum encoding encoding;
} media_types[] = {
    {"application/json", ENCODING_JSON},
    {"application/x-ndjson", ENCODING_NDJSON},
    {"application/x-protobuf", ENCODING_PROTOBUF},
    {"application/protobuf", ENCODING_PROTOBUF},
    {"text/event-stream", ENCODING_SSE},
    {"application/cloudevents+json", ENCODING_CE_JSON},
    {"application/cloudevents+protobuf", ENCODING_CE_PROTOBUF},
    {"application/cloudevents-batch+json", ENCODING_CE_JSON_BATCH},
    {"application/cloudevents-batch+protobuf", ENCODING_CE_PROTOBUF_BATCH},
};

#define MEDIA_TYPES (sizeof media_types / sizeof *media_types)
#define QUALITY_MAX 1000

/* How a media type was matched; the larger specificity counts. */
struct match {
    unsigned specificity; /* 0: not at all, 1: *, 2: type/ *, 3: in full */
    unsigned quality;     /* thousandths */
    size_t order;         /* place in the header */
};

struct range {
    struct bytes media;
    struct bytes charset;
    unsigned quality;
};

static struct bytes next_item(struct bytes *rest, uint8_t separator);
static bool read_range(struct bytes text, struct range *ret);
static bool read_quality(struct bytes text, unsigned *ret);
static unsigned specificity_of(struct bytes range, const char *media_type);
static bool is_better(const struct match *a, const struct match *b);
static struct match match_one(struct bytes accept, const char *media_type);
static bool text_is(struct bytes text, const char *wanted);
static bool is_utf8(struct bytes charset);

const char *negotiate_media_type(enum encoding encoding)
{
    switch (encoding) {
    case ENCODING_NDJSON:
        return "application/x-ndjson";
    case ENCODING_PROTOBUF:
        return "application/x-protobuf";
    case ENCODING_SSE:
        return "text/event-stream";
    case ENCODING_CE_JSON:
        return "application/cloudevents+json";
    case ENCODING_CE_PROTOBUF:
        return "application/cloudevents+protobuf";
    case ENCODING_CE_JSON_BATCH:
        return "application/cloudevents-batch+json";
    case ENCODING_CE_PROTOBUF_BATCH:
        return "application/cloudevents-batch+protobuf";
    case ENCODING_JSON:
        break;
    }
    return "application/json";
}

/* What nearly every client sends: one media type by its plain name. */
static bool accept_plain(struct bytes accept, unsigned offered, enum encoding *ret)
{
    for (size_t i = 0; i < MEDIA_TYPES; i++) {
        enum encoding encoding = media_types[i].encoding;
        if ((offered & OFFER(encoding)) != 0 &&
            bytes_equal(accept, bytes_of_string(media_types[i].name))) {
            *ret = encoding;
            return true;
        }
    }
    return false;
}

bool negotiate_accept(struct bytes accept, unsigned offered, enum encoding *ret)
{
    if (accept_plain(accept, offered, ret)) {
        return true;
    }
    /* An encoding with two names is as welcome as the more exactly named of them. */
    struct match matches[ENCODING_COUNT] = {0};
    for (size_t i = 0; i < MEDIA_TYPES; i++) {
        struct match m = match_one(accept, media_types[i].name);
        struct match *of_encoding = &matches[media_types[i].encoding];
        if (m.specificity > of_encoding->specificity) {
            *of_encoding = m;
        }
    }
    struct match best = {0};
    for (unsigned e = 0; e < ENCODING_COUNT; e++) {
        if ((offered & OFFER(e)) != 0 && matches[e].quality > 0 && is_better(&matches[e], &best)) {
            best = matches[e];
            *ret = (enum encoding)e;
        }
    }
    return best.specificity > 0;
}

bool negotiate_only_protobuf(struct bytes accept)
{
    enum encoding ignored;
    return !negotiate_accept(accept, OFFER(ENCODING_JSON), &ignored) &&
           match_one(accept, "application/problem+json").quality == 0 &&
           negotiate_accept(accept, OFFER(ENCODING_PROTOBUF), &ignored);
}

bool negotiate_content_type(struct bytes content_type, enum encoding *ret)
{
    struct range range;
    unsigned bodies = OFFER(ENCODING_JSON) | OFFER(ENCODING_PROTOBUF);
    if (content_type.n == 0 || accept_plain(content_type, bodies, ret)) {
        *ret = content_type.n == 0 ? ENCODING_JSON : *ret;
        return true;
    }
    if (!read_range(content_type, &range)) {
        return false;
    }
    if (text_is(range.media, "application/json")) {
        *ret = ENCODING_JSON;
        return is_utf8(range.charset);
    }
    *ret = ENCODING_PROTOBUF;
    return text_is(range.media, "application/x-protobuf") ||
           text_is(range.media, "application/protobuf");
}

bool negotiate_cloudevents(struct bytes content_type, enum encoding *ret)
{
    struct range range;
    if (!read_range(content_type, &range) || !is_utf8(range.charset)) {
        return false;
    }
    for (unsigned e = ENCODING_CE_JSON; e <= ENCODING_CE_PROTOBUF_BATCH; e++) {
        if (text_is(range.media, negotiate_media_type((enum encoding)e))) {
            *ret = (enum encoding)e;
            return true;
        }
    }
    return false;
}

bool negotiate_is_cloudevents(struct bytes content_type)
{
    static const char begin[] = "application/cloudevents";
    return content_type.n >= sizeof begin - 1 &&
           strncasecmp((const char *)content_type.p, begin, sizeof begin - 1) == 0;
}

/* Whether a charset, or that none is given, means UTF-8. */
static bool is_utf8(struct bytes charset)
{
    return charset.n == 0 || text_is(charset, "utf-8") || text_is(charset, "\"utf-8\"") ||
           text_is(charset, "us-ascii");
}

static struct match match_one(struct bytes accept, const char *media_type)
{
    struct match found = {0};
    struct bytes rest = accept.n == 0 ? BYTES_LITERAL("*/*") : accept;
    for (size_t order = 0; rest.n > 0; order++) {
        struct range range;
        if (!read_range(next_item(&rest, ','), &range)) {
            continue;
        }
        unsigned specificity = specificity_of(range.media, media_type);
        if (specificity > found.specificity) {
            found = (struct match){specificity, range.quality, order};
        }
    }
    return found;
}

static bool is_better(const struct match *a, const struct match *b)
{
    if (a->quality != b->quality) {
        return a->quality > b->quality;
    }
    if (a->specificity != b->specificity) {
        return a->specificity > b->specificity;
    }
    return a->order < b->order;
}

static bool text_is(struct bytes text, const char *wanted)
{
    return text.n == strlen(wanted) && strncasecmp((const char *)text.p, wanted, text.n) == 0;
}

static unsigned specificity_of(struct bytes range, const char *media_type)
{
    if (text_is(range, media_type)) {
        return 3;
    }
    if (text_is(range, "*/*")) {
        return 1;
    }
    size_t type_bytes = (size_t)(strchr(media_type, '/') - media_type) + 1;
    bool same_type = range.n == type_bytes + 1 && range.p[type_bytes] == '*' &&
                     strncasecmp((const char *)range.p, media_type, type_bytes) == 0;
    return same_type ? 2 : 0;
}

static struct bytes trim(struct bytes text)
{
    while (text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t')) {
        text = bytes_of(text.p + 1, text.n - 1);
    }
    while (text.n > 0 && (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t')) {
        text.n--;
    }
    return text;
}

/* The part of *rest before the next separator that is not inside quotes; *rest becomes what
 * follows. */
static struct bytes next_item(struct bytes *rest, uint8_t separator)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < rest->n && (quoted || rest->p[i] != separator); i++) {
        if (rest->p[i] == '\\' && quoted) {
            i += i + 1 < rest->n;
        } else if (rest->p[i] == '"') {
            quoted = !quoted;
        }
    }
    struct bytes item = bytes_of(rest->p, i);
    *rest = bytes_after(*rest, i + (i < rest->n));
    return trim(item);
}

/* A media type or range with its parameters, of which only q and charset matter here. */
static bool read_range(struct bytes text, struct range *ret)
{
    *ret = (struct range){.quality = QUALITY_MAX};
    ret->media = next_item(&text, ';');
    bool ok = ret->media.n > 0;
    while (text.n > 0) {
        struct bytes value = next_item(&text, ';');
        struct bytes name = next_item(&value, '=');
        if (text_is(name, "q")) {
            ok = ok && read_quality(trim(value), &ret->quality);
        } else if (text_is(name, "charset")) {
            ret->charset = trim(value);
        }
    }
    return ok;
}

/* qvalue = "0" [ "." 0*3DIGIT ] / "1" [ "." 0*3"0" ] */
static bool read_quality(struct bytes text, unsigned *ret)
{
    if (text.n == 0 || text.n > 5 || (text.p[0] != '0' && text.p[0] != '1') ||
        (text.n > 1 && text.p[1] != '.')) {
        return false;
    }
    unsigned quality = (unsigned)(text.p[0] - '0') * QUALITY_MAX;
    unsigned weight = QUALITY_MAX / 10;
    for (size_t i = 2; i < text.n; i++, weight /= 10) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        quality += (unsigned)(text.p[i] - '0') * weight;
    }
    *ret = quality;
    return quality <= QUALITY_MAX;
}
