/*
 * INI files against tables of options: one table line gives an option its type, default, range,
 * reload flag and help. Parsing is iniparser's; strictness is ours, because iniparser lets through
 * duplicate keys, numbers with rubbish behind them and unquoted values cut at ';' or '#'.
 *
 * Every mistake is an error text that names file, section, key, what was found and what is
 * allowed, and for unknown names the nearest known one. Loading goes on to collect further
 * mistakes (up to 20), so that one run shows them all.
 */
#ifndef POSTERN_CONF_H
#define POSTERN_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/result.h"

enum conf_type {
	CONF_STRING,   /* char *; owned by the settings; never NULL ("" when empty) */
	CONF_PATH,     /* char *; absolute, or "" when the default is "" */
	CONF_BOOL,     /* bool; yes/no, on/off, true/false, 1/0 */
	CONF_INTEGER,  /* int64_t; decimal only */
	CONF_SIZE,     /* int64_t bytes; suffix K, M, G, T (powers of 1024), none: bytes */
	CONF_DURATION, /* int64_t milliseconds; suffix ms, s, m, h, d, w; none only for 0 */
	CONF_MODE,     /* int64_t; octal file mode */
	CONF_CHOICE,   /* char *; one of the blank-separated `choices` */
};

#define CONF_RELOAD 1u /* a SIGHUP applies it; else a restart is needed and said */
#define CONF_SECRET                                                                                \
	2u /* --dump-config prints it as "(set)" or ""; file must not be world-readable */

struct conf_option {
	const char *section; /* "database"; "limit *" stands for any [limit NAME] */
	const char *key;
	enum conf_type type;
	size_t offset;        /* of the value in the settings (or in the section's element) */
	const char *fallback; /* the default, in the file's syntax; NULL: the key is required */
	int64_t min, max;     /* numbers, both 0: the type's own range, never negative */
	const char *choices;  /* CONF_CHOICE */
	unsigned flags;
	const char *help; /* one line, as in the manual */
};

/* A family of sections [NAME x]: the loader appends one element (zeroed, then defaults) for each.
 */
struct conf_family {
	const char *section; /* "limit *" */
	size_t items_offset; /* of the `void *` array (malloc) in the settings */
	size_t count_offset; /* of its size_t */
	size_t item_size;    /* each element begins with `char *name` */
};

struct conf_table {
	const struct conf_option *options;  /* ends with section NULL */
	const struct conf_family *families; /* ends with section NULL; may be NULL */
	size_t size;                        /* of the settings structure */
};

/*
 * Fills SETTINGS (zeroed by us) from FILE, or with defaults only when FILE is NULL. FOUND, or PERM
 * with all mistakes, one a line, in MISTAKES (may be NULL) and the first in ERR. On PERM the
 * settings are freed. Sections not in the table are mistakes.
 */
enum result conf_load(const struct conf_table *table, const char *file, void *settings,
		      struct buf *mistakes, struct error *err) MUST_CHECK;
void conf_free(const struct conf_table *table, void *settings);

/* The effective settings as INI text, loadable again (secrets excepted). */
void conf_dump(const struct conf_table *table, const void *settings, struct buf *out);

/*
 * Compares two loaded settings; appends "[section] key" lines for options that differ and lack
 * CONF_RELOAD. True when there are none.
 */
bool conf_reloadable(const struct conf_table *table, const void *before, const void *after,
		     struct buf *changed);

/*
 * Puts the values of BEFORE into AFTER where an option lacks CONF_RELOAD (families excepted: theirs
 * come and go with their sections), so that what runs and what is configured agree.
 */
void conf_keep(const struct conf_table *table, const void *before, void *after);

/*
 * Raw access for files whose keys are data (presets, plugin options): the same strict reading,
 * no table. Sections and keys are lower case. Order is the file's.
 */
struct conf_file;
enum result conf_file_read(const char *file, struct conf_file **file_r,
			   struct error *err) MUST_CHECK;
/* NULL when absent. Valid until freed. */
const char *conf_file_get(const struct conf_file *file, const char *section, const char *key);
/* The INDEXth section name or NULL after the last; the INDEXth key of a section likewise. */
const char *conf_file_section(const struct conf_file *file, size_t index);
const char *conf_file_key(const struct conf_file *file, const char *section, size_t index);
void conf_file_free(struct conf_file **file);

/* Strict parsers of single values, shared with command-line arguments (postern user add --quota).
 */
bool conf_parse_integer(const char *text, int64_t *value_r) MUST_CHECK;
bool conf_parse_size(const char *text, int64_t *bytes_r) MUST_CHECK;
bool conf_parse_duration(const char *text, int64_t *ms_r) MUST_CHECK;
bool conf_parse_bool(const char *text, bool *value_r) MUST_CHECK;

/*
 * Calls for each blank-separated word: copies the next word of *CURSOR into WORD of SIZE bytes and
 * moves the cursor. False at the end, or when a word does not fit (then *CURSOR is NULL).
 */
bool conf_next_word(const char **cursor, char *word, size_t size) MUST_CHECK;

#endif
