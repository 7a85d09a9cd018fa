"""The gates of scripts/tidy: one function each, from a tree to (problems, note).

A problem is one line, `path:line: what is wrong`. To add a gate, write its function, add it to GATES
at the end, and give it a canary in tidy_canaries.py (without one `scripts/tidy --canaries` fails).
"""

import ast
import concurrent.futures
import os
import re
import shutil
import subprocess
from fnmatch import fnmatch
from typing import Callable, NamedTuple

FOLDERS = ["storage", "projections", "server", "clients", "tests", "scripts", ".ci"]

# ---- what is looked at ---------------------------------------------------------------------------


class Tree:
    """The files under the folders of a repository, with paths relative to its root."""

    def __init__(self, root):
        self.root = root
        self.paths = []
        for folder in FOLDERS:
            for where, _, names in os.walk(os.path.join(root, folder)):
                self.paths += [os.path.relpath(os.path.join(where, n), root) for n in names]
        self.paths.sort()

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def c_files(self):
        return [p for p in self.paths if p.endswith((".c", ".h"))]

    def run(self, *command):
        """Runs a tool in the root; returns its exit status and everything it printed."""
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def strip_c(text, preprocessor=True):
    """Blanks comments, literals and (by default) preprocessor lines, keeping every newline."""
    def blank(match):
        kept = '""' if match.group(0)[0] in "\"'" else " "
        return kept + "\n" * match.group(0).count("\n")
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)
    if preprocessor:
        text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"), text,
                      flags=re.M)
    return text


# ---- layers: DESIGN section 7 --------------------------------------------------------------------

# Folder -> folders whose headers it may include (its own always). The longest matching name counts.
MAY_INCLUDE = {
    "storage/base": [],
    "storage": ["storage/base"],
    "projections": ["storage", "storage/base"],
    "server": ["storage", "storage/base", "projections"],
    "clients/c": [],
    "clients/cli": ["clients/c"],
    "tests": ["storage", "storage/base", "projections", "server", "clients/c", "clients/cli"],
}

# A library's headers -> where they may be included. Tests may include all of them.
FENCES = [
    ("lmdb.h", ["storage/kv_*"]),
    ("microhttpd.h", ["server/http*"]),
    ("sqlite3.h", ["projections/sql.c", "projections/sql_guard.c"]),
    ("lua*.h", ["projections/script_lua*"]),
    ("lauxlib.h", ["projections/script_lua*"]),
    ("yajl/*", ["server/json*", "clients/*"]),
    ("curl/*", ["clients/c/*", "server/push.c", "server/push_delivery*"]),
    ("zlib.h", ["clients/*", "server/*"]),
    ("sodium.h", ["clients/*", "server/*"]),
    ("protobuf-c/*", ["storage/record*", "storage/command*", "server/*", "clients/*"]),
    ("daybook/v1/*", ["storage/record*", "storage/command*", "server/*", "clients/*"]),
    ("cloudevents/v1/*", ["server/cloudevents*"]),
    ("cmocka.h", []),
]

LIBC = set("""
assert ctype dirent errno fcntl float getopt inttypes limits locale math netdb poll pthread semaphore
setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings
termios time unistd endian byteswap fnmatch libgen grp pwd sched spawn langinfo wchar malloc
arpa/inet net/if netinet/in netinet/tcp linux/falloc linux/fs
sys/epoll sys/eventfd sys/file sys/inotify sys/ioctl sys/mman sys/param sys/prctl sys/random
sys/resource sys/select sys/sendfile sys/signalfd sys/socket sys/stat sys/statfs sys/statvfs sys/syscall sys/time
sys/timerfd sys/types sys/uio sys/un sys/utsname sys/wait immintrin nmmintrin arm_acle cpuid
""".split())

# Passive libraries (DESIGN section 1, rule 4): no clock, threads, randomness or printing of their own.
PASSIVE = ["storage", "storage/base", "projections"]
NOT_PASSIVE = {
    "reads a clock": "clock_gettime clock time gettimeofday timespec_get localtime localtime_r mktime",
    "starts a thread": "pthread_create thrd_create fork posix_spawn",
    "waits": "sleep usleep nanosleep clock_nanosleep",
    "is random": "rand random drand48 getrandom getentropy arc4random",
    "logs or prints": "printf vprintf fprintf vfprintf dprintf puts fputs putchar perror syslog",
}
# A failed assertion may say so before it aborts.
PRINTS_ALLOWED = ["storage/base/check.c"]


def folder_of(path):
    matches = [f for f in MAY_INCLUDE if path.startswith(f + "/")]
    return max(matches, key=len, default="")


def check_quoted(tree, path, name):
    """An #include "name": returns what is wrong, or None."""
    if fnmatch(name, "*/v1/*.pb-c.h"):
        return check_fence(path, name)
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    target = beside if os.path.exists(os.path.join(tree.root, beside)) else name
    here, there = folder_of(path), folder_of(target)
    if here == there:
        return None
    if there not in MAY_INCLUDE.get(here, []):
        return f"{here or 'this folder'} may not include {target}"
    if target.endswith("_int.h") and here != "tests":
        return f"{target} is internal to {there}"
    return None


def check_fence(path, name):
    """A third-party or system header: returns what is wrong, or None."""
    if re.sub(r"\.h$", "", name) in LIBC or path.startswith("tests/"):
        return None
    for pattern, where in FENCES:
        if fnmatch(name, pattern):
            fenced = any(fnmatch(path, w) for w in where)
            return None if fenced else f"<{name}> belongs in {' or '.join(where) or 'tests'} only"
    return f"<{name}> is no libc header and no library that scripts/tidy_gates.py knows"


def check_calls(path, code):
    """Clock, thread and printing calls in a passive folder."""
    for why, names in NOT_PASSIVE.items():
        if why == "logs or prints" and path in PRINTS_ALLOWED:
            continue
        for match in re.finditer(rf"(?<![\w.>])({names.replace(' ', '|')})\s*\(", code):
            yield code.count("\n", 0, match.start()) + 1, f"{match.group(1)}() {why}"


def gate_layers(tree):
    problems = []
    for path in tree.c_files() + [p for p in tree.paths if p.endswith(".def")]:
        text = tree.read(path)
        for number, line in enumerate(text.split("\n"), 1):
            match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            quoted, name = match.group(1) == '"', match.group(2)
            wrong = check_quoted(tree, path, name) if quoted else check_fence(path, name)
            if wrong:
                problems.append(f"{path}:{number}: {wrong}")
        if folder_of(path) in PASSIVE:
            problems += [f"{path}:{number}: {wrong}, which {folder_of(path)}/ must not"
                         for number, wrong in check_calls(path, strip_c(text))]
    return problems, f"{len(tree.c_files())} files"


# ---- sizes: STYLE 3 ------------------------------------------------------------------------------

LINES_MAX = {".c": 600, ".h": 200}
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6
NESTING_MAX = 3


class Function(NamedTuple):
    name: str
    line: int
    lines: int
    parameters: int
    nesting: int
    is_static: bool


def functions_of(text):
    """The functions defined in clang-formatted code: in this style only a function body opens with a
    `{` alone in column 0, and only it ends with a `}` alone in column 0."""
    lines = strip_c(text).split("\n")
    found = []
    start = None
    for i, line in enumerate(lines):
        if line.rstrip() == "{":
            start = i
        elif line.rstrip() == "}" and start is not None:
            found.append(read_function(lines, start, i))
            start = None
    return found


def read_function(lines, opening, closing):
    """The function whose body is lines[opening..closing]."""
    first = opening
    while first > 0 and lines[first - 1].strip() and not lines[first - 1].rstrip().endswith((";", "}")):
        first -= 1
    header = " ".join(lines[first:opening])
    header = re.sub(r"__attribute__\s*\(\(.*?\)\)\)?", "", header)
    match = re.search(r"(\w+)\s*\(", header)
    name = match.group(1) if match else "?"
    inside = header[match.end():header.rfind(")")] if match else ""
    return Function(name, first + 1, closing - first + 1, count_parameters(inside),
                    nesting_of("\n".join(lines[opening + 1:closing])),
                    bool(re.search(r"\bstatic\b", header)))


def count_parameters(inside):
    """Callbacks of libmicrohttpd have the parameters that it gives them: those do not count."""
    if inside.strip() in ("", "void") or "struct MHD_Connection" in inside:
        return 0
    depth = commas = 0
    for char in inside:
        depth += (char == "(") - (char == ")")
        commas += char == "," and depth == 0
    return commas + 1


def nesting_of(body):
    """How deep statements sit in if, for, while, do and switch. An `else if` chain is one level; the
    braces of initialisers and of `case` blocks are none."""
    deepest = 0
    stack = []
    for match in re.finditer(r"[{}]", body):
        if match.group(0) == "{":
            stack.append(opens_control(body[:match.start()].rstrip()))
            deepest = max(deepest, sum(stack))
        elif stack:
            stack.pop()
    return deepest


def opens_control(before):
    """Whether a brace after this text is the body of a control statement."""
    if re.search(r"\b(else|do)$", before):
        return True
    if not before.endswith(")"):
        return False
    depth = 0
    for i in range(len(before) - 1, -1, -1):
        depth += (before[i] == ")") - (before[i] == "(")
        if depth == 0:
            return bool(re.search(r"\b(if|for|while|switch|[A-Z_]*FOREACH)\s*$", before[:i]))
    return False


def gate_sizes(tree):
    problems, lengths = [], []
    for path in tree.c_files():
        text = tree.read(path)
        count = text.count("\n")
        limit = LINES_MAX[os.path.splitext(path)[1]]
        if count > limit:
            problems.append(f"{path}:{limit}: {count} lines, at most {limit}")
        for f in functions_of(text):
            lengths.append(f.lines)
            for value, limit, what in [(f.lines, FUNCTION_LINES_MAX, "lines"),
                                       (f.parameters, PARAMETERS_MAX, "parameters"),
                                       (f.nesting, NESTING_MAX, "levels of nesting")]:
                if value > limit:
                    problems.append(f"{path}:{f.line}: {f.name}: {value} {what}, at most {limit}")
    lengths.sort()
    note = (f"{len(lengths)} functions, median {lengths[len(lengths) // 2]} lines, "
            f"p90 {lengths[len(lengths) * 9 // 10]}" if lengths else "no functions")
    return problems, note


# ---- names: STYLE 4-6 ----------------------------------------------------------------------------


def gate_names(tree):
    problems = []
    for path in tree.c_files():
        text = tree.read(path)
        code = strip_c(text)
        for match in re.finditer(r"\btypedef\s+(struct|union)\b", code):
            number = code.count("\n", 0, match.start()) + 1
            problems.append(f"{path}:{number}: typedef of a {match.group(1)}; write it out")
    for path in tree.paths:
        if not path.endswith((".c", ".h", ".def", ".py", ".proto")) or path.startswith("scripts/tidy"):
            continue
        for number, line in enumerate(tree.read(path).split("\n"), 1):
            if re.search(r"\b(TODO|FIXME|XXX)\b", line) and not re.search(r"issue \d+|#\d+", line):
                problems.append(f"{path}:{number}: {line.strip()[:60]}: name its issue ('issue 12')")
    return problems, ""


# ---- format --------------------------------------------------------------------------------------

# Other versions break some lines differently; this one decides.
CLANG_FORMAT_VERSION = "14"


def clang_format():
    """The right clang-format, or None."""
    for tool in (f"clang-format-{CLANG_FORMAT_VERSION}", "clang-format"):
        if shutil.which(tool):
            version = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
            if re.search(rf"version {CLANG_FORMAT_VERSION}\.", version.stdout):
                return tool
    return None


def gate_format(tree):
    tool = clang_format()
    if tool is None:
        return [], f"SKIPPED: needs clang-format {CLANG_FORMAT_VERSION} (Debian 12's)"
    files = tree.c_files()
    if not files:
        return [], "0 files"
    status, output = tree.run(tool, "--dry-run", "-Werror", "--style=file", *files)
    first_lines = {}
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: error: ", output, flags=re.M):
        first_lines.setdefault(path, line)
    problems = [f"{path}:{line}: not formatted from here (scripts/tidy --fix)"
                for path, line in first_lines.items()]
    if status != 0 and not problems:
        problems = [output.strip()]
    return problems, f"{len(files)} files"


def format_files(tree):
    """clang-format -i, then repairs its habit of leaving `*/` alone below a full line."""
    tool = clang_format()
    if tool is None:
        raise SystemExit(f"scripts/tidy: --fix needs clang-format {CLANG_FORMAT_VERSION}")
    subprocess.run([tool, "-i", "--style=file", *tree.c_files()], cwd=tree.root, check=True)
    for path in tree.c_files():
        text = tree.read(path)
        fixed = re.sub(r"^( *(?:/\*| \*) .*) (\S+)\n( +)\*/$", r"\1\n\3* \2 */", text, flags=re.M)
        if fixed != text:
            with open(os.path.join(tree.root, path), "w", encoding="utf-8") as file:
                file.write(fixed)


# ---- static analysis -----------------------------------------------------------------------------

DEFINES = ["-D_GNU_SOURCE", '-DDAYBOOK_VERSION="0"']
INCLUDES = ["-I.", "-Ibuild/proto"]


def gate_cppcheck(tree):
    files = [p for p in tree.c_files() if p.endswith(".c")]
    if not files:
        return [], "0 files"
    status, output = tree.run(
        "cppcheck", "--quiet", "--std=c11", f"-j{os.cpu_count()}", "--library=posix",
        "--enable=warning,performance,portability", "--inline-suppr", "--error-exitcode=1",
        "--suppress=*:build/*", "--suppress=preprocessorErrorDirective",
        # glibc's readdir is safe with a DIR each, and readdir_r is the deprecated one.
        "--suppress=readdirCalled",
        "--template={file}:{line}: {severity}: {message} [{id}]", *DEFINES, *INCLUDES, *files)
    problems = [line for line in output.split("\n") if re.match(r"\S+:\d+: ", line)]
    if status != 0 and not problems:
        problems = [output.strip()]
    return problems, f"{len(files)} files"


def gate_clang_tidy(tree):
    # Load generators for other stores are built where those stores are, by tests/bench/peers/run: their headers are not here.
    files = [p for p in tree.c_files() if p.endswith(".c") and not p.startswith("tests/bench/peers/")]
    flags = subprocess.run("pkg-config --cflags libmicrohttpd libcurl yajl sqlite3 lua5.4", shell=True,
                           capture_output=True, text=True, check=False).stdout.split()

    def check(path):
        status, output = tree.run("clang-tidy", "--quiet", path, "--", "-std=c17", *DEFINES,
                                  *INCLUDES, *flags)
        found = re.findall(r"^\S+?:\d+:\d+: (?:error|warning): .*", output, flags=re.M)
        return found or ([f"{path}:1: {output.strip()}"] if status != 0 else [])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = {p for problems in pool.map(check, files) for p in problems}
    return sorted(p.replace(tree.root + "/", "") for p in found), f"{len(files)} files"


# ---- scripts -------------------------------------------------------------------------------------


def gate_scripts(tree):
    """Shell and Python scripts parse; shellcheck has its say where it is installed."""
    problems, count = [], 0
    has_shellcheck = shutil.which("shellcheck") is not None
    for path in tree.paths:
        if path.endswith((".c", ".h", ".md", ".ndjson")) or "/corpus/" in path:
            continue
        text = tree.read(path)
        if path.endswith(".py") or re.match(r"#!.*python", text):
            count += 1
            try:
                ast.parse(text, path)
            except SyntaxError as error:
                problems.append(f"{path}:{error.lineno}: {error.msg}")
        elif path.endswith(".sh") or re.match(r"#!.*\b(ba)?sh\b", text):
            count += 1
            commands = [["bash", "-n", path]]
            if has_shellcheck:
                commands.append(["shellcheck", "--severity=warning", "--format=gcc", path])
            for command in commands:
                status, output = tree.run(*command)
                if status != 0:
                    problems += output.strip().split("\n")
    return problems, f"{count} scripts" + ("" if has_shellcheck else ", without shellcheck")


# ---- the table -----------------------------------------------------------------------------------


class Gate(NamedTuple):
    run: Callable
    what: str
    fast: bool = False


GATES = {
    "layers": Gate(gate_layers, "who includes whom, who may use which library and call", True),
    "sizes": Gate(gate_sizes, "lines of files and functions, parameters, nesting", True),
    "names": Gate(gate_names, "no typedef of a struct, no TODO without an issue", True),
    "scripts": Gate(gate_scripts, "shell and Python scripts parse", True),
    "format": Gate(gate_format, "clang-format"),
    "cppcheck": Gate(gate_cppcheck, "cppcheck"),
    "clang-tidy": Gate(gate_clang_tidy, "clang-tidy, as .clang-tidy says"),
}
