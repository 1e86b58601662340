/*
 * NAME
 *	conf_file - strict reading of INI files
 *
 * DESCRIPTION
 *	Values come from iniparser. iniparser 4.1 is lenient where a mail host cannot be, so every
 *	line is looked at first, and these are mistakes with file and line: a line over 1022 bytes,
 *	a NUL or another control character, a line continued with a backslash (iniparser would also
 *	continue a comment), a section repeated or without a name, a key before any section or
 *	repeated, an unclosed quote, text behind a closing quote, ';' or '#' glued to an unquoted
 *	value (iniparser cuts there), a comment behind a section name.
 *
 *	There is no escape character: a value with blanks at its ends, ';' or '#' stands in double
 *	or single quotes and cannot hold that kind of quote; backslashes mean themselves.
 *
 *	What iniparser then delivers is compared with what was seen, so that another version's
 *	different reading, or a file changed in between, is an error and not a surprise.
 *
 * LIMITS
 *	Regular files of at most 1 MiB and 4096 keys and sections; names of at most 100 bytes.
 *
 * BUGS
 *	iniparser frees its copy of a password without wiping it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/conf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_INIPARSER_H
#include <iniparser.h>
#else
#include <iniparser/iniparser.h>
#endif

#include "common/secret.h"

#define LINE_BYTES 1022 /* iniparser's buffer less newline and NUL */
#define FILE_BYTES (1024 * 1024)
#define KEYS_MAX   4096
#define NAME_BYTES 100

struct scan {
	const char *name;
	struct conf_file *file;
	struct conf_mistakes *mistakes;
	unsigned line;
	struct conf_section *section; /* NULL: none yet, or the last header was bad */
	bool header_seen;
	bool out_of_memory;
};

void conf_mistake(struct conf_mistakes *mistakes, const char *format, ...)
{
	char text[sizeof(mistakes->first->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	if (mistakes->count++ == 0)
		error_set(mistakes->first, "%s", text);
	if (mistakes->text == NULL)
		return;
	if (mistakes->count <= CONF_MISTAKES_MAX)
		buf_printf(mistakes->text, "%s\n", text);
	else if (mistakes->count == CONF_MISTAKES_MAX + 1)
		buf_puts(mistakes->text, "further mistakes are not shown\n");
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_comment(char c)
{
	return c == ';' || c == '#';
}

static void trim(const char **text, size_t *len)
{
	while (*len > 0 && is_blank(**text)) {
		(*text)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*text)[*len - 1]))
		(*len)--;
}

/* As iniparser does it, whatever the locale says. */
static char *lower_copy(const char *text, size_t len)
{
	char *copy = strndup(text, len);
	for (char *c = copy; c != NULL && *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	return copy;
}

static bool key_char_ok(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.';
}

static void scan_section(struct scan *scan, const char *text, size_t len)
{
	scan->header_seen = true;
	scan->section = NULL;
	if (text[len - 1] != ']' || memchr(text, ']', len - 1) != NULL) {
		conf_mistake(scan->mistakes,
			     "%s:%u: a section is [NAME] alone on its line; put a comment on a "
			     "line of its own",
			     scan->name, scan->line);
		return;
	}
	text++;
	len -= 2;
	trim(&text, &len);
	if (len == 0 || len > NAME_BYTES) {
		conf_mistake(scan->mistakes, "%s:%u: a section needs a name of 1 to %d bytes",
			     scan->name, scan->line, NAME_BYTES);
		return;
	}
	if (memchr(text, ':', len) || memchr(text, '[', len) || memchr(text, '"', len)) {
		conf_mistake(scan->mistakes, "%s:%u: a section name cannot hold ':', '[' or '\"'",
			     scan->name, scan->line);
		return;
	}

	if (scan->file->count == KEYS_MAX) {
		conf_mistake(scan->mistakes, "%s:%u: more than %d sections", scan->name, scan->line,
			     KEYS_MAX);
		return;
	}

	char *name = lower_copy(text, len);
	struct conf_section *grown =
		realloc(scan->file->sections, (scan->file->count + 1) * sizeof(*grown));
	if (grown != NULL)
		scan->file->sections = grown;
	if (name == NULL || grown == NULL) {
		free(name);
		scan->out_of_memory = true;
		return;
	}
	const struct conf_section *same = conf_file_find(scan->file, name);
	if (same != NULL) {
		conf_mistake(scan->mistakes, "%s:%u: section [%s] is already on line %u",
			     scan->name, scan->line, name, same->line);
		free(name);
		return;
	}
	scan->section = &grown[scan->file->count++];
	*scan->section = (struct conf_section){.name = name, .line = scan->line};
}

/*
 * Finds the value in what follows the '=' of a key. TEXT is not trimmed, so that a blank before
 * ';' can be seen. NULL, or what is wrong.
 */
static const char *scan_value(const char *text, size_t len, const char **value_r, size_t *len_r)
{
	bool blank_first = len > 0 && is_blank(text[0]);
	trim(&text, &len);
	*value_r = text;
	*len_r = 0;
	if (len == 0)
		return NULL;

	if (text[0] == '"' || text[0] == '\'') {
		const char *end = memchr(text + 1, text[0], len - 1);
		if (end == NULL)
			return "the value opens a quote and does not close it";
		*value_r = text + 1;
		*len_r = (size_t)(end - text) - 1;
		size_t rest_len = len - (size_t)(end + 1 - text);
		const char *rest = end + 1;
		trim(&rest, &rest_len);
		if (rest_len > 0 && !is_comment(rest[0]))
			return "there is text behind the closing quote; a value with one kind of "
			       "quote inside goes into the other kind";
		return NULL;
	}

	static const char glued[] = "an unquoted value ends at ';' or '#'; put the value in double "
				    "quotes, or a blank before the comment";
	if (is_comment(text[0]))
		return blank_first && (len == 1 || is_blank(text[1])) ? NULL : glued;
	size_t end = 0;
	while (end < len && !is_comment(text[end]))
		end++;
	if (end < len && !is_blank(text[end - 1]))
		return glued;
	*len_r = end;
	trim(value_r, len_r);
	return NULL;
}

static void add_entry(struct scan *scan, const char *key, size_t key_len, const char *value,
		      size_t value_len)
{
	struct conf_section *section = scan->section;
	struct conf_entry entry = {.key = lower_copy(key, key_len), .line = scan->line};
	struct conf_entry *grown = realloc(section->entries, (section->count + 1) * sizeof(*grown));
	if (grown != NULL)
		section->entries = grown;
	entry.value = strndup(value, value_len);
	if (entry.key == NULL || entry.value == NULL || grown == NULL) {
		scan->out_of_memory = true;
	} else {
		const struct conf_entry *same = conf_section_find(section, entry.key);
		if (same == NULL) {
			grown[section->count++] = entry;
			scan->file->entry_count++;
			return;
		}
		conf_mistake(scan->mistakes, "%s:%u: [%s] %s is already on line %u", scan->name,
			     scan->line, section->name, entry.key, same->line);
	}
	free(entry.key);
	secret_free(&entry.value);
}

static void scan_key(struct scan *scan, const char *text, size_t len)
{
	const char *equals = memchr(text, '=', len);
	if (equals == NULL) {
		conf_mistake(scan->mistakes,
			     "%s:%u: neither [section], key = value nor a comment (; or #)",
			     scan->name, scan->line);
		return;
	}
	const char *key = text;
	size_t key_len = (size_t)(equals - text);
	trim(&key, &key_len);
	bool key_ok = key_len > 0 && key_len <= NAME_BYTES;
	for (size_t i = 0; i < key_len && key_ok; i++)
		key_ok = key_char_ok(key[i]);
	if (!key_ok) {
		conf_mistake(scan->mistakes,
			     "%s:%u: before '=' stands one word of letters, digits, '_', '-' "
			     "and '.'",
			     scan->name, scan->line);
		return;
	}

	const char *value;
	size_t value_len;
	const char *wrong =
		scan_value(equals + 1, len - (size_t)(equals + 1 - text), &value, &value_len);
	if (wrong != NULL) {
		conf_mistake(scan->mistakes, "%s:%u: %s%s%s%.*s: %s", scan->name, scan->line,
			     scan->section ? "[" : "", scan->section ? scan->section->name : "",
			     scan->section ? "] " : "", (int)key_len, key, wrong);
		return;
	}
	if (scan->section == NULL) {
		if (!scan->header_seen)
			conf_mistake(scan->mistakes, "%s:%u: %.*s stands before any [section]",
				     scan->name, scan->line, (int)key_len, key);
		return;
	}
	if (scan->file->entry_count == KEYS_MAX) {
		conf_mistake(scan->mistakes, "%s:%u: more than %d keys", scan->name, scan->line,
			     KEYS_MAX);
		return;
	}
	add_entry(scan, key, key_len, value, value_len);
}

static void scan_line(struct scan *scan, const char *text, size_t len)
{
	if (len > LINE_BYTES) {
		conf_mistake(scan->mistakes, "%s:%u: the line is longer than %d bytes", scan->name,
			     scan->line, LINE_BYTES);
		return;
	}
	if (len > 0 && text[len - 1] == '\r')
		len--;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if ((c < ' ' && c != '\t') || c == 0x7f) {
			conf_mistake(scan->mistakes,
				     "%s:%u: control character 0x%02x in column %zu", scan->name,
				     scan->line, c, i + 1);
			return;
		}
	}
	trim(&text, &len);
	if (len == 0)
		return;
	if (text[len - 1] == '\\') {
		conf_mistake(scan->mistakes,
			     "%s:%u: a backslash at the end does not continue a line; write it "
			     "as one line, or put the value in double quotes",
			     scan->name, scan->line);
		return;
	}
	if (is_comment(text[0]))
		return;
	if (text[0] == '[')
		scan_section(scan, text, len);
	else
		scan_key(scan, text, len);
}

static enum result read_all(const char *name, struct buf *text, mode_t *mode_r,
			    struct conf_mistakes *mistakes)
{
	int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		conf_mistake(mistakes, "%s: cannot be opened: %s", name, strerror(errno));
		return RESULT_PERM;
	}
	struct stat st;
	enum result result = RESULT_PERM;
	if (fstat(fd, &st) != 0) {
		conf_mistake(mistakes, "%s: %s", name, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		conf_mistake(mistakes, "%s: is not a regular file", name);
		goto out;
	}
	*mode_r = st.st_mode & 07777;
	for (;;) {
		char *room = buf_reserve(text, 16384);
		if (room == NULL) {
			conf_mistake(mistakes, "%s: out of memory", name);
			result = RESULT_TEMP;
			goto out;
		}
		ssize_t got = read(fd, room, 16384);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			conf_mistake(mistakes, "%s: cannot be read: %s", name, strerror(errno));
			goto out;
		}
		if (got == 0)
			break;
		buf_added(text, (size_t)got);
		if (text->len > FILE_BYTES) {
			conf_mistake(mistakes, "%s: is larger than 1 MiB", name);
			goto out;
		}
	}
	result = RESULT_FOUND;
out:
	close(fd);
	return result;
}

static void scan_text(struct scan *scan, const char *text, size_t len)
{
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		conf_mistake(scan->mistakes,
			     "%s:1: begins with a byte order mark; save the file without it",
			     scan->name);
		text += 3;
		len -= 3;
	}
	while (len > 0) {
		const char *newline = memchr(text, '\n', len);
		size_t line_len = newline ? (size_t)(newline - text) : len;
		scan->line++;
		scan_line(scan, text, line_len);
		line_len += newline != NULL;
		text += line_len;
		len -= line_len;
	}
}

/* iniparser reads the values; each must be what the scan saw. */
static enum result parse_values(struct scan *scan)
{
	dictionary *values = iniparser_load(scan->name);
	if (values == NULL) {
		conf_mistake(scan->mistakes, "%s: iniparser cannot read it", scan->name);
		return RESULT_PERM;
	}
	enum result result = RESULT_FOUND;
	for (size_t i = 0; i < scan->file->count && result == RESULT_FOUND; i++) {
		const struct conf_section *section = &scan->file->sections[i];
		for (size_t k = 0; k < section->count && result == RESULT_FOUND; k++) {
			char name[2 * NAME_BYTES + 2];
			snprintf(name, sizeof(name), "%s:%s", section->name,
				 section->entries[k].key);
			const char *value = iniparser_getstring(values, name, NULL);
			if (value != NULL && strcmp(value, section->entries[k].value) == 0)
				continue;
			conf_mistake(scan->mistakes,
				     "%s:%u: [%s] %s: iniparser reads another value than is "
				     "written there; quote it, or the file changed just now",
				     scan->name, section->entries[k].line, section->name,
				     section->entries[k].key);
			result = RESULT_PERM;
		}
	}
	iniparser_freedict(values);
	return result;
}

enum result conf_file_scan(const char *name, struct conf_file **file_r,
			   struct conf_mistakes *mistakes)
{
	*file_r = NULL;
	struct scan scan = {.name = name, .mistakes = mistakes};
	struct buf text = BUF_SECRET;
	unsigned before = mistakes->count;

	scan.file = calloc(1, sizeof(*scan.file));
	if (scan.file == NULL) {
		conf_mistake(mistakes, "%s: out of memory", name);
		return RESULT_TEMP;
	}
	enum result result = read_all(name, &text, &scan.file->mode, mistakes);
	if (result == RESULT_FOUND)
		scan_text(&scan, buf_str(&text), text.len);
	if (scan.out_of_memory) {
		conf_mistake(mistakes, "%s: out of memory", name);
		result = RESULT_TEMP;
	}
	if (result == RESULT_FOUND && mistakes->count == before)
		result = parse_values(&scan);
	buf_free(&text);
	if (result == RESULT_FOUND)
		*file_r = scan.file;
	else
		conf_file_free(&scan.file);
	return result;
}

enum result conf_file_read(const char *file, struct conf_file **file_r, struct error *err)
{
	struct conf_mistakes mistakes = {.first = err};
	enum result result = conf_file_scan(file, file_r, &mistakes);
	if (result == RESULT_FOUND && mistakes.count > 0) {
		conf_file_free(file_r);
		return RESULT_PERM;
	}
	return result;
}

const struct conf_section *conf_file_find(const struct conf_file *file, const char *section)
{
	for (size_t i = 0; i < file->count; i++)
		if (strcmp(file->sections[i].name, section) == 0)
			return &file->sections[i];
	return NULL;
}

const struct conf_entry *conf_section_find(const struct conf_section *section, const char *key)
{
	for (size_t i = 0; i < section->count; i++)
		if (strcmp(section->entries[i].key, key) == 0)
			return &section->entries[i];
	return NULL;
}

const char *conf_file_get(const struct conf_file *file, const char *section, const char *key)
{
	const struct conf_section *found = conf_file_find(file, section);
	const struct conf_entry *entry = found ? conf_section_find(found, key) : NULL;
	return entry ? entry->value : NULL;
}

const char *conf_file_section(const struct conf_file *file, size_t index)
{
	return index < file->count ? file->sections[index].name : NULL;
}

const char *conf_file_key(const struct conf_file *file, const char *section, size_t index)
{
	const struct conf_section *found = conf_file_find(file, section);
	return found && index < found->count ? found->entries[index].key : NULL;
}

void conf_file_free(struct conf_file **file)
{
	if (*file == NULL)
		return;
	for (size_t i = 0; i < (*file)->count; i++) {
		struct conf_section *section = &(*file)->sections[i];
		for (size_t k = 0; k < section->count; k++) {
			free(section->entries[k].key);
			secret_free(&section->entries[k].value);
		}
		free(section->entries);
		free(section->name);
	}
	free((*file)->sections);
	free(*file);
	*file = NULL;
}
