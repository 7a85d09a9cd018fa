/* Tests of storage/base/arena.h. */
#include "storage/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Pieces of all sizes, smaller and larger than a chunk, are 8-byte aligned and keep their
 * content. */
static void test_arena_alloc_pieces(void **state)
{
    (void)state;
    enum { PIECES = 300 };
    uint8_t *pieces[PIECES];
    struct arena a;
    arena_init(&a, 128, 1 << 20);
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = arena_alloc(&a, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 8, 0);
        memset(pieces[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_int_equal(pieces[i][j], i & 0xff);
        }
    }
    arena_done(&a);
}

/* Empty pieces are valid pointers, all different, and count towards the maximum. */
static void test_arena_alloc_empty(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64, 24);
    void *first = arena_alloc(&a, 0);
    void *second = arena_alloc(&a, 0);
    void *third = arena_alloc(&a, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(third);
    assert_ptr_not_equal(first, second);
    assert_ptr_not_equal(second, third);
    assert_null(arena_alloc(&a, 0));
    arena_done(&a);
}

/* The maximum can be used up exactly; one byte more is refused and leaves the arena usable. */
static void test_arena_alloc_max(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64, 256);
    assert_null(arena_alloc(&a, 257));
    assert_non_null(arena_alloc(&a, 200));
    assert_null(arena_alloc(&a, 57));
    assert_non_null(arena_alloc(&a, 56));
    assert_int_equal(a.used, 256);
    assert_null(arena_alloc(&a, 1));
    arena_done(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 256));
    arena_done(&a);
}

/* Sizes near SIZE_MAX do not wrap around. */
static void test_arena_alloc_overflow(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64, SIZE_MAX / 2);
    for (size_t i = 0; i < 40; i++) {
        assert_null(arena_alloc(&a, SIZE_MAX - i));
    }
    assert_int_equal(a.used, 0);
    arena_done(&a);
}

/* A large piece does not end the filling of the chunk at hand. */
static void test_arena_alloc_large_aside(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64, 10000);
    uint8_t *first = arena_alloc(&a, 16);
    uint8_t *large = arena_alloc(&a, 1000);
    uint8_t *second = arena_alloc(&a, 16);
    assert_non_null(large);
    assert_ptr_equal(second, first + 16);
    arena_done(&a);
}

/* A copy is equal, elsewhere, and empty bytes may be copied. */
static void test_arena_copy_content(void **state)
{
    (void)state;
    struct arena a;
    char text[] = "hello";
    struct bytes copy = BYTES_NONE;
    arena_init(&a, 64, 1000);
    assert_int_equal(arena_copy(&a, bytes_of_string(text), &copy), ERR_OK);
    text[0] = 'j';
    assert_true(bytes_equal(copy, BYTES_LITERAL("hello")));
    assert_int_equal(arena_copy(&a, BYTES_NONE, &copy), ERR_OK);
    assert_int_equal(copy.n, 0);
    assert_non_null(copy.p);
    arena_done(&a);
}

/* Beyond the maximum it is LIMIT, and the result is untouched. */
static void test_arena_copy_limit(void **state)
{
    (void)state;
    struct arena a;
    struct bytes copy = BYTES_LITERAL("before");
    arena_init(&a, 64, 8);
    assert_int_equal(arena_copy(&a, BYTES_LITERAL("123456789"), &copy), ERR_LIMIT);
    assert_int_equal(arena_copy(&a, bytes_of("", SIZE_MAX), &copy), ERR_LIMIT);
    assert_true(bytes_equal(copy, BYTES_LITERAL("before")));
    assert_int_equal(arena_copy(&a, BYTES_LITERAL("12345678"), &copy), ERR_OK);
    arena_done(&a);
}

/* Where memory is short it is MEMORY, not LIMIT, and the result is untouched. */
static void test_arena_copy_memory(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* their malloc aborts instead of returning NULL */
#endif
    struct arena a;
    struct bytes copy = BYTES_LITERAL("before");
    arena_init(&a, SIZE_MAX / 2, 1000);
    assert_int_equal(arena_copy(&a, BYTES_LITERAL("x"), &copy), ERR_MEMORY);
    assert_true(bytes_equal(copy, BYTES_LITERAL("before")));
    assert_int_equal(a.used, 0);
    arena_done(&a);
}

/* After a reset the whole maximum is there again and an ordinary chunk is used again. */
static void test_arena_reset_reuse(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64, 200);
    arena_reset(&a);
    const void *first = NULL;
    for (int round = 0; round < 100; round++) {
        void *p = arena_alloc(&a, 64);
        assert_non_null(p);
        assert_true(round == 0 || p == first);
        first = p;
        assert_non_null(arena_alloc(&a, 136));
        assert_null(arena_alloc(&a, 8));
        arena_reset(&a);
        assert_int_equal(a.used, 0);
    }
    arena_done(&a);
}

/* The chunk of a large piece is given back by a reset, also where it is the only one. */
static void test_arena_reset_large(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64, 100000);
    assert_non_null(arena_alloc(&a, 50000));
    arena_reset(&a);
    assert_null(a.head);
    assert_non_null(arena_alloc(&a, 10));
    arena_done(&a);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_alloc_pieces),      cmocka_unit_test(test_arena_alloc_empty),
        cmocka_unit_test(test_arena_alloc_max),         cmocka_unit_test(test_arena_alloc_overflow),
        cmocka_unit_test(test_arena_alloc_large_aside), cmocka_unit_test(test_arena_copy_content),
        cmocka_unit_test(test_arena_copy_limit),        cmocka_unit_test(test_arena_copy_memory),
        cmocka_unit_test(test_arena_reset_reuse),       cmocka_unit_test(test_arena_reset_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
