/* Tests of clients/cli/table.h. */
#include "clients/cli/table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct daybook_buffer b;

static int setup(void **state)
{
    (void)state;
    daybook_buffer_init(&b, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    daybook_buffer_done(&b);
    return 0;
}

static void assert_built(const char *text)
{
    assert_true(daybook_buffer_add_byte(&b, '\0'));
    assert_string_equal((const char *)b.p, text);
    b.n = 0;
}

#define TEXT(text)                   \
    {                                \
        DAYBOOK_TEXT, 0, 0,          \
        {                            \
            (text), sizeof(text) - 1 \
        }                            \
    }
#define INTEGER(text)                \
    {                                \
        DAYBOOK_INTEGER, 0, 0,       \
        {                            \
            (text), sizeof(text) - 1 \
        }                            \
    }
#define NOTHING             \
    {                       \
        DAYBOOK_NULL, 0, 0, \
        {                   \
            NULL, 0         \
        }                   \
    }

static const char *const names[] = {"id", "n", "note"};

static struct daybook_rows rows_of(const struct daybook_value *values, size_t rows_n)
{
    return (struct daybook_rows){
        .columns = names, .columns_n = 3, .values = values, .rows_n = rows_n};
}

/* Columns are as wide as what is in them, numbers stand to the right, lines do not end in
 * blanks. */
static void test_text(void **state)
{
    (void)state;
    const struct daybook_value values[] = {
        TEXT("a"), INTEGER("1"), TEXT("x"), TEXT("long one"), INTEGER("-12345"),
        TEXT(""),  TEXT("b"),    NOTHING,   TEXT("yy"),
    };
    struct daybook_rows rows = rows_of(values, 3);
    assert_true(table_add_text(&b, &rows));
    assert_built("id             n  note\n"
                 "--------  ------  ----\n"
                 "a              1  x\n"
                 "long one  -12345\n"
                 "b           NULL  yy\n");
}

/* A number among text does not stand to the right. */
static void test_text_mixed(void **state)
{
    (void)state;
    const struct daybook_value values[] = {INTEGER("1"), TEXT("x"),    INTEGER("3"),
                                           TEXT("abc"),  INTEGER("2"), INTEGER("33")};
    struct daybook_rows rows = rows_of(values, 2);
    assert_true(table_add_text(&b, &rows));
    assert_built("id   n  note\n"
                 "---  -  ----\n"
                 "1    x     3\n"
                 "abc  2    33\n");
}

/* Line breaks and what a terminal acts on do not break the table; wide letters take their place. */
static void test_text_safe(void **state)
{
    (void)state;
    const struct daybook_value values[] = {TEXT("a\nb\x1b[31m"),
                                           TEXT("\xe6\x97\xa5\xe6\x9c\xac"),
                                           TEXT("h\xc3\xa9"),
                                           TEXT("a\0b"),
                                           TEXT("1"),
                                           TEXT("\xff")};
    struct daybook_rows rows = rows_of(values, 2);
    assert_true(table_add_text(&b, &rows));
    assert_built("id            n     note\n"
                 "------------  ----  ----\n"
                 "a\\nb\\x1b[31m  \xe6\x97\xa5\xe6\x9c\xac  h\xc3\xa9\n"
                 "a\\x00b        1     \\xff\n");
}

static void test_without_rows(void **state)
{
    (void)state;
    struct daybook_rows rows = rows_of(NULL, 0);
    assert_true(table_add_text(&b, &rows));
    assert_built("id  n  note\n--  -  ----\n");
    assert_true(table_add_csv(&b, &rows));
    assert_built("id,n,note\r\n");
}

/* RFC 4180, and NULL can be told from empty text. */
static void test_csv(void **state)
{
    (void)state;
    const struct daybook_value values[] = {
        TEXT("a,b"), INTEGER("1"),         TEXT("say \"hi\""), TEXT(""),
        NOTHING,     TEXT("two\r\nlines"), TEXT("\""),         NOTHING,
        NOTHING,     TEXT(" x "),          TEXT("\xff\x1b"),   INTEGER("9223372036854775807"),
    };
    struct daybook_rows rows = rows_of(values, 4);
    assert_true(table_add_csv(&b, &rows));
    assert_built("id,n,note\r\n"
                 "\"a,b\",1,\"say \"\"hi\"\"\"\r\n"
                 "\"\",,\"two\r\nlines\"\r\n"
                 "\"\"\"\",,\r\n"
                 " x ,\xff\x1b,9223372036854775807\r\n");
}

static void test_csv_names(void **state)
{
    (void)state;
    static const char *const odd[] = {"a,b", "", "c\"d"};
    struct daybook_rows rows = {.columns = odd, .columns_n = 3};
    assert_true(table_add_csv(&b, &rows));
    assert_built("\"a,b\",\"\",\"c\"\"d\"\r\n");
}

/* A buffer that is full says so. */
static void test_no_room(void **state)
{
    (void)state;
    static char wide[1000];
    memset(wide, 'x', sizeof wide);
    const struct daybook_value values[] = {TEXT("a"), TEXT(wide), TEXT("c")};
    struct daybook_rows rows = rows_of(values, 1);
    struct daybook_buffer small;
    daybook_buffer_init(&small, 900);
    assert_false(table_add_text(&small, &rows));
    assert_false(table_add_csv(&small, &rows));
    daybook_buffer_done(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),      cmocka_unit_test(test_text_mixed),
        cmocka_unit_test(test_text_safe), cmocka_unit_test(test_without_rows),
        cmocka_unit_test(test_csv),       cmocka_unit_test(test_csv_names),
        cmocka_unit_test(test_no_room),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, setup, teardown);
}
