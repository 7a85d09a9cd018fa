"""A gate that nobody has seen fail is not a gate: samples that each gate must refuse.

Each canary is a tiny tree: {path: content}. The gate runs over it in a temporary directory and must
report a problem that contains the expected words. GOOD must pass every gate.
"""

import os
import shutil
import tempfile

import tidy_gates

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def function(name="sample", parameters="void", body="    return 0;\n"):
    return f"int {name}({parameters});\n\nint {name}({parameters})\n{{\n{body}}}\n"


def including(name):
    return f"#include {name}\n"


GOOD = {
    "storage/base/buf.h": "int buf_size(void);\n",
    "storage/base/buf.c": '#include "buf.h"\n\n#include <stdlib.h>\n\n'
                          "int buf_size(void)\n{\n    return abs(-1);\n}\n",
    "storage/kv_lmdb.c": '#include "storage/base/buf.h"\n\n#include <lmdb.h>\n\n'
                         + function("kv_time", "int time", "    return time + buf_size();\n"),
    "scripts/fine": "#!/bin/bash\necho fine\n",
}

DEEP = ("    for (;;) {\n        if (1) {\n            while (1) {\n                if (0) {\n"
        "                    return 1;\n                }\n            }\n        }\n    }\n")
LEAK = ('#include <stdlib.h>\n\n' + function(
    "leak", "int n", "    char *p = malloc(10);\n    if (p != NULL) {\n        p[0] = (char)n;\n"
                     "    }\n    return n;\n"))
OVERRUN = function("overrun", "void", "    int a[4] = {0};\n    a[4] = 1;\n    return a[4];\n")
NULL_USE = function("null_use", "void", "    int *p = 0;\n    return *p;\n")
NO_BRACES = function("bare", "int n", "    if (n)\n        return 1;\n    return 0;\n")

# gate -> [(what it shows, tree, words of the expected problem)]
CANARIES = {
    "layers": [
        ("base looks up", {"storage/base/buf.c": including('"storage/store.h"')}, "may not include"),
        ("base uses a library", {"storage/base/buf.c": including("<sodium.h>")}, "belongs in"),
        ("storage looks up", {"storage/log.c": including('"server/http.h"')}, "may not include"),
        ("a header beside the file is no way around",
         {"server/http.h": "", "storage/log.c": including('"../server/http.h"')}, "may not include"),
        ("projections look up", {"projections/table.c": including('"server/log.h"')}, "may not include"),
        ("a client looks at storage", {"clients/c/x.c": including('"storage/store.h"')},
         "may not include"),
        ("the command looks at the server", {"clients/cli/x.c": including('"server/json.h"')},
         "may not include"),
        ("somebody includes tests", {"server/x.c": including('"tests/unit/util.h"')}, "may not include"),
        ("an internal header leaves its folder", {"server/x.c": including('"storage/tail_int.h"')},
         "is internal to"),
        ("lmdb outside its fence", {"storage/store.c": including("<lmdb.h>")}, "belongs in"),
        ("lmdb in the server", {"server/main.c": including("<lmdb.h>")}, "belongs in"),
        ("microhttpd outside its fence", {"server/router.c": including("<microhttpd.h>")}, "belongs in"),
        ("yajl outside its fence", {"server/api_read.c": including("<yajl/yajl_parse.h>")},
         "belongs in"),
        ("curl outside the client library", {"clients/cli/x.c": including("<curl/curl.h>")},
         "belongs in"),
        ("sqlite outside its fence", {"projections/x.c": including("<sqlite3.h>")}, "belongs in"),
        ("generated code outside the codecs",
         {"storage/read.c": including('"daybook/v1/events.pb-c.h"')}, "belongs in"),
        ("an unknown library", {"server/x.c": including("<glib.h>")}, "no library that"),
        ("a table (.def) that includes upwards", {"storage/x.def": including('"server/log.h"')},
         "may not include"),
        ("storage reads the clock",
         {"storage/x.c": function(body="    return (int)time(0);\n")}, "reads a clock"),
        ("storage reads the clock by clock_gettime",
         {"storage/base/x.c": function(body="    return clock_gettime(0, 0);\n")}, "reads a clock"),
        ("storage starts a thread",
         {"storage/x.c": function(body="    return pthread_create(0, 0, 0, 0);\n")}, "starts a thread"),
        ("storage prints",
         {"storage/x.c": function(body='    return printf("hello");\n')}, "logs or prints"),
        ("storage logs to stderr",
         {"storage/x.c": function(body='    return fprintf(stderr, "x");\n')}, "logs or prints"),
        ("projections draw random numbers",
         {"projections/x.c": function(body="    return rand();\n")}, "is random"),
    ],
    "sizes": [
        ("a long file", {"server/x.c": "int x;\n" * 601}, "601 lines"),
        ("a long header", {"server/x.h": "int x;\n" * 201}, "201 lines"),
        ("a long function", {"server/x.c": function(body="    ;\n" * 68)}, "71 lines"),
        ("seven parameters",
         {"server/x.c": function(parameters="int a, int b, int c, int d, int e, int f, int g")},
         "7 parameters"),
        ("seven parameters, one a callback",
         {"server/x.c": function(parameters="int a, int b, int c,\n           int d, int e, int f,\n"
                                            "           void (*g)(int h, int i)")}, "7 parameters"),
        ("deep nesting", {"server/x.c": function(body=DEEP)}, "4 levels"),
    ],
    "names": [
        ("typedef of a struct", {"server/x.h": "typedef struct x x;\n"}, "typedef of a struct"),
        ("typedef of a union", {"server/x.h": "typedef union {\n    int a;\n} x;\n"},
         "typedef of a union"),
        ("TODO without an issue", {"server/x.c": "/* TODO: later. */\n"}, "name its issue"),
    ],
    "scripts": [
        ("broken bash", {"scripts/x": "#!/bin/bash\nif true; then\n"}, "scripts/x"),
        ("broken Python", {"tests/http/test_x.py": "def x(:\n"}, "test_x.py:1"),
    ],
    "format": [
        ("two spaces", {"server/x.c": function(body="  return 0;\n")}, "not formatted"),
        ("brace on the line of the function", {"server/x.c": "int x(void) {\n    return 0;\n}\n"},
         "not formatted"),
        ("a wide comment", {"server/x.c": "/* " + "wide " * 20 + "*/\n"}, "not formatted"),
        ("a wide statement", {"server/x.c": function(body="    return 0" + " + 1" * 30 + ";\n")},
         "not formatted"),
    ],
    "cppcheck": [
        ("array overrun", {"server/x.c": OVERRUN}, "arrayIndexOutOfBounds"),
        ("memory leak", {"server/x.c": LEAK}, "memleak"),
    ],
    "clang-tidy": [
        ("null dereference", {"server/x.c": NULL_USE}, "clang-analyzer-core.NullDereference"),
        ("memory leak", {"server/x.c": LEAK}, "clang-analyzer-unix.Malloc"),
        ("a body without braces", {"server/x.c": NO_BRACES}, "readability-braces"),
        ("a fault in a header",
         {"server/x.h": "static inline int x(int n)\n{\n    return n == n;\n}\n",
          "server/x.c": including('"x.h"') + function(body="    return x(1);\n")}, "misc-redundant"),
    ],
}


def problems_in(gate, files):
    """Runs a gate over a tree made of these files."""
    with tempfile.TemporaryDirectory(prefix="daybook-canary-") as root:
        for name in (".clang-format", ".clang-tidy"):
            shutil.copy(os.path.join(ROOT, name), root)
        for path, content in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(content)
        return gate.run(tidy_gates.Tree(root))


def run(gates):
    """Returns how many canaries sang as they should and how many did not."""
    passed = failed = 0
    for name, gate in gates.items():
        cases = [("a good tree passes", GOOD, None)] + CANARIES.get(name, [])
        if name not in CANARIES:
            cases.append(("has no canary", GOOD, "a canary in tidy_canaries.py"))
        skipped = ""
        for what, files, expected in cases:
            problems, note = problems_in(gate, files)
            if note.startswith("SKIPPED"):
                skipped = note
                break
            good = not problems if expected is None else any(expected in p for p in problems)
            passed += good
            failed += not good
            if not good:
                print(f"  canary FAILED: {name}: {what}: expected {expected or 'nothing'}, "
                      f"got {problems or 'nothing'}")
        print(f"  {name:<11} {len(cases)} canaries {skipped}", flush=True)
    return passed, failed
