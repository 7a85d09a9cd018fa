/* protobuf_memory: what protobuf-c unpacks into: pieces of an arena, which frees everything at
 * once. Each piece is preceded by its size: the generated structs hold strings as char pointers,
 * and a NUL inside one must be seen, not taken for its end.
 *
 * Any thread; one message at a time. */
#ifndef DAYBOOK_SERVER_PROTOBUF_MEMORY_H
#define DAYBOOK_SERVER_PROTOBUF_MEMORY_H

#include "storage/base/arena.h"

#include <protobuf-c/protobuf-c.h>

struct protobuf_memory {
    struct arena *arena;
    bool exhausted;
    ProtobufCAllocator allocator;
};

/* The message stays as long as the arena. NULL: it does not parse, or, where `exhausted` was set,
 * it does not fit into the arena. */
ProtobufCMessage *protobuf_memory_unpack(struct protobuf_memory *m, struct arena *arena,
                                         const ProtobufCMessageDescriptor *descriptor,
                                         struct bytes body);
/* A string field of an unpacked message as bytes, with any NUL that it has; .p is NULL where it is
 * absent or empty. */
struct bytes protobuf_memory_string(const char *s);

#endif
