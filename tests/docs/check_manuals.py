#!/usr/bin/env python3
"""Compares the manuals with the programs and with mandoc's opinion.

Every key of common/settings.c is in postern.ini(5) and the other way round; every map of
common/maps.c is in postfix-lookup(8); every metric and plugin option is in the manual of its folder;
every option of --help is in the program's manual and the other way round; every exit code that a
program can return is under EXIT STATUS. Environment: POSTERN_TOP_SRCDIR, and POSTERN_TOP_BUILDDIR
for --help (default: the source folder). Prints each mistake and a closing line; exit status 1 if
there was any, 77 without mandoc.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve()
SOURCE = pathlib.Path(os.environ.get("POSTERN_TOP_SRCDIR", HERE.parents[2]))
BUILD = pathlib.Path(os.environ.get("POSTERN_TOP_BUILDDIR", SOURCE))

PAGES = {
    "postfix-lookup": "postfix-lookup/postfix-lookup.8",
    "lmtp-deliver": "lmtp-deliver/lmtp-deliver.8",
    "sasl-authd": "sasl-auxprop-sql/sasl-authd.8",
    "policyd": "policyd/policyd.8",
    "postern": "postern/postern.1",
    "sasl-auxprop-sql": "sasl-auxprop-sql/sasl-auxprop-sql.5",
    "postern.ini": "common/postern.ini.5",
    "postern-schema": "schemas/postern-schema.5",
}
# Where each program's exit codes come from.
PROGRAMS = {
    "postfix-lookup": ("postfix-lookup/main.c", "common/daemon*.c"),
    "lmtp-deliver": ("lmtp-deliver/*.c", "common/daemon*.c"),
    "sasl-authd": ("sasl-auxprop-sql/authd.c", "common/daemon*.c"),
    "policyd": ("policyd/main.c", "common/daemon*.c"),
    "postern": ("postern/*.c",),
}
SYSEXITS = {
    "EX_OK": 0, "EX_USAGE": 64, "EX_DATAERR": 65, "EX_NOINPUT": 66, "EX_NOUSER": 67,
    "EX_NOHOST": 68, "EX_UNAVAILABLE": 69, "EX_SOFTWARE": 70, "EX_OSERR": 71, "EX_OSFILE": 72,
    "EX_CANTCREAT": 73, "EX_IOERR": 74, "EX_TEMPFAIL": 75, "EX_PROTOCOL": 76, "EX_NOPERM": 77,
    "EX_CONFIG": 78,
}


def read(path):
    return (SOURCE / path).read_text(encoding="utf-8")


def code(*patterns):
    """The text of C files, comments removed."""
    text = "\n".join(file.read_text(encoding="utf-8")
                     for pattern in patterns for file in sorted(SOURCE.glob(pattern)))
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def rendered(page):
    """The page as plain text, without overstrikes and line breaks inside words."""
    output = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=1000", SOURCE / page],
                            stdout=subprocess.PIPE, check=True).stdout.decode("ascii", "replace")
    return re.sub(".\b", "", output)


def has_word(text, word):
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def check_lint(page):
    result = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", SOURCE / page],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return result.stdout.decode("utf-8", "replace").splitlines()


def settings_keys():
    """{"section": {key, ...}} of the option table."""
    keys = {}
    for section, key in re.findall(r'\{\s*"([a-z]+(?: \*)?)",\s*"([a-z_]+)",\s*CONF_',
                                   code("common/settings.c")):
        keys.setdefault(section, set()).add(key)
    return keys


def manual_keys():
    """The same of the manual: headings that name [section], items below them that name keys."""
    keys, section = {}, None
    for line in read(PAGES["postern.ini"]).splitlines():
        heading = re.match(r"\.S[hs] .*", line)
        if heading:
            name = re.search(r"\[\s*(?:\w\w )?([a-z]+)(?: (?:\w\w )?(?:NAME|\*))?\s*\]", line)
            section = name and (name[1] + (" *" if re.search(r"NAME|\*", line) else ""))
        item = re.match(r"\.It (?:Ic|Cm|Va|Li|Sy) ([a-z_]+)\b", line)
        if item and section:
            keys.setdefault(section, set()).add(item[1])
    return keys


def check_settings():
    coded, manual = settings_keys(), manual_keys()
    if not coded:
        yield "common/settings.c: found no option table"
    for here, there, what in ((coded, manual, "is not in postern.ini(5)"),
                              (manual, coded, "is in postern.ini(5) but not in common/settings.c")):
        for section, keys in sorted(here.items()):
            for key in sorted(keys - there.get(section, set())):
                yield f"[{section}] {key} {what}"


def check_maps():
    maps = re.findall(r'\{\s*"([a-z_]+)",\s*[a-z_]+,?\s*\}', code("common/maps.c"))
    if "virtual_alias_maps" not in maps:
        yield "common/maps.c: found no table of maps"
    manual = rendered(PAGES["postfix-lookup"])
    for name in maps:
        if not has_word(manual, name):
            yield f"map {name} is not in postfix-lookup(8)"


def check_names():
    """Metrics and plugin options: "postern_..." in the code, postern_... in the manuals."""
    pages = {name: rendered(page) for name, page in PAGES.items()}
    for folder in ("common", "postfix-lookup", "lmtp-deliver", "sasl-auxprop-sql", "policyd"):
        near = "".join(text for name, text in pages.items()
                       if folder == "common" or PAGES[name].startswith(folder + "/"))
        for name in sorted(set(re.findall(r'"(postern_[a-z0-9_]+)', code(f"{folder}/*.c")))):
            if not has_word(near, name):
                yield f"{name} of {folder}/ is in no manual of that folder"
    known = set(re.findall(r"\bpostern_[a-z0-9_]+", code("*/*.c")))
    for page, text in pages.items():
        for name in sorted(set(re.findall(r"\bpostern_[a-z0-9_]+", text))):
            if not {name, re.sub(r"_(bucket|sum|count)$", "", name)} & known:
                yield f"{name} is in {page}'s manual but not in the code"


def check_options(program):
    binary = BUILD / pathlib.Path(PAGES[program]).parent / program
    if not binary.exists():
        yield f"{binary}: not built"
        return
    result = subprocess.run([binary, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        yield f"{program} --help: exit status {result.returncode}"
    pattern = r"(?<![\w-])(--?[a-zA-Z][\w-]*)"
    offered = set(re.findall(pattern, result.stdout.decode("utf-8", "replace")))
    source = read(PAGES[program])
    # Only what the manual marks up as this program's own option counts on its side.
    marked = {"-" + ("-" if twice else "") + flag
              for line in re.findall(r"^\.It (?:.*)$", source, re.MULTILINE)
              for twice, flag in re.findall(r"\bFl (Fl )?(-?[a-zA-Z][\w-]*)", line)}
    text = rendered(PAGES[program])
    if "--help" not in offered:
        yield f"{program} --help does not mention --help"
    for option in sorted(offered):
        if not has_word(text, option):
            yield f"{option} of {program} --help is not in its manual"
    for option in sorted(marked - offered):
        yield f"{option} is in the manual of {program} but not in its --help"


def check_exits(program):
    text = code(*PROGRAMS[program])
    used = {SYSEXITS[name] for name in re.findall(r"\bEX_[A-Z]+\b", text) if name in SYSEXITS} | {0}
    # EX_ names of our own: an enumerator or macro with its number.
    used |= {int(number) for number in re.findall(r"\b(?:EX|EXIT)_[A-Z_]+\s*=?\s*(\d+)\b", text)}
    section = re.search(r"^\.Sh EXIT STATUS\n(.*?)(?=^\.Sh |\Z)", read(PAGES[program]),
                        re.MULTILINE | re.DOTALL)
    if not section:
        yield f"the manual of {program} has no EXIT STATUS"
        return
    items = " ".join(re.findall(r"^\.It .*", section[1], re.MULTILINE))
    listed = {int(number) for number in re.findall(r"\b\d+\b", items)}
    for number in sorted(used - listed):
        yield f"exit status {number} of {program} is not in its manual"
    for number in sorted(listed - used - {1}):
        yield f"exit status {number} is in the manual of {program} but not in its code"


def main():
    if not shutil.which("mandoc"):
        print("mandoc is not installed")
        sys.exit(77)
    checks = [("lint " + page, check_lint, page) for page in PAGES.values()]
    checks += [("settings", check_settings), ("maps", check_maps), ("names", check_names)]
    for program in PROGRAMS:
        checks += [("options of " + program, check_options, program),
                   ("exit codes of " + program, check_exits, program)]
    passed = failed = 0
    for title, check, *arguments in checks:
        try:
            mistakes = list(check(*arguments))
        except (OSError, subprocess.SubprocessError) as error:
            mistakes = [str(error)]
        for mistake in mistakes:
            print(f"{title}: {mistake}")
        passed += not mistakes
        failed += bool(mistakes)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
