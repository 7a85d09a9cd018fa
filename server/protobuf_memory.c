/* protobuf_memory: an allocator for protobuf-c. */
#include "server/protobuf_memory.h"

#define PIECE_HEADER 8

static void *piece_alloc(void *ctx, size_t n)
{
    struct protobuf_memory *m = ctx;
    uint8_t *p = n > SIZE_MAX - PIECE_HEADER ? NULL : arena_alloc(m->arena, n + PIECE_HEADER);
    if (p == NULL) {
        m->exhausted = true;
        return NULL;
    }
    memcpy(p, &n, sizeof n);
    return p + PIECE_HEADER;
}

static void piece_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

ProtobufCMessage *protobuf_memory_unpack(struct protobuf_memory *m, struct arena *arena,
                                         const ProtobufCMessageDescriptor *descriptor,
                                         struct bytes body)
{
    *m = (struct protobuf_memory){arena, false, {piece_alloc, piece_free, m}};
    return protobuf_c_message_unpack(descriptor, &m->allocator, body.n, body.p);
}

struct bytes protobuf_memory_string(const char *s)
{
    if (s == protobuf_c_empty_string || s == NULL) {
        return BYTES_NONE;
    }
    size_t n;
    memcpy(&n, s - PIECE_HEADER, sizeof n);
    return n > 1 ? bytes_of(s, n - 1) : BYTES_NONE;
}
