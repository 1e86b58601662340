/*
 * What conf.c, conf_file.c and conf_value.c share; programs include conf.h only.
 */
#ifndef POSTERN_CONF_FILE_H
#define POSTERN_CONF_FILE_H

#include <sys/types.h>

#include "common/conf.h"

struct conf_entry {
	char *key;
	char *value;
	unsigned line;
};

struct conf_section {
	char *name;
	unsigned line;
	struct conf_entry *entries;
	size_t count;
};

struct conf_file {
	struct conf_section *sections;
	size_t count;
	size_t entry_count; /* of all sections */
	mode_t mode;        /* permission bits of the file */
};

#define CONF_MISTAKES_MAX 20

/* Collects mistakes: all (up to the limit) as lines of TEXT, the first also in FIRST. */
struct conf_mistakes {
	struct buf *text;    /* may be NULL */
	struct error *first; /* may be NULL */
	unsigned count;
};
void conf_mistake(struct conf_mistakes *mistakes, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * Reads FILE. FOUND also when lines were wrong (they are counted in MISTAKES and left out), so that
 * the caller can look for more; PERM when the file cannot be read at all, TEMP out of memory.
 */
enum result conf_file_scan(const char *name, struct conf_file **file_r,
			   struct conf_mistakes *mistakes) MUST_CHECK;

const struct conf_section *conf_file_find(const struct conf_file *file,
					  const char *section) MUST_CHECK;
const struct conf_entry *conf_section_find(const struct conf_section *section,
					   const char *key) MUST_CHECK;

/* Numbers of the types INTEGER, SIZE, DURATION and MODE. */
bool conf_parse_number(enum conf_type type, const char *text, int64_t *value_r) MUST_CHECK;
void conf_print_number(struct buf *out, enum conf_type type, int64_t value);
bool conf_in_range(const struct conf_option *option, int64_t value) MUST_CHECK;
bool conf_is_choice(const char *choices, const char *value) MUST_CHECK;
/* What an option accepts, for mistakes. */
void conf_describe(const struct conf_option *option, struct buf *out);

#endif
