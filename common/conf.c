/*
 * NAME
 *	conf - option tables over INI files
 *
 * DESCRIPTION
 *	One line of a table gives an option its section, key, type, default, range, choices and
 *	flags; loading, checking, dumping and comparing all walk that table. Reading the file is
 *	conf_file.c, single values are conf_value.c.
 *
 *	A mistake says where it is (file, line, section, key), what was found (never the value of a
 *	secret) and what is allowed; for an unknown name, the nearest known one.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/conf_file.h"
#include "common/secret.h"

struct loader {
	const struct conf_table *table;
	const char *name; /* of the file, "defaults" without one */
	const struct conf_file *file;
	char *settings;
	struct conf_mistakes mistakes;
	bool out_of_memory;
};

static bool is_string(enum conf_type type)
{
	return type == CONF_STRING || type == CONF_PATH || type == CONF_CHOICE;
}

/* "limit *" takes "limit NAME"; the length of the fixed part, 0 when SECTION is not a family. */
static size_t family_prefix(const char *section)
{
	size_t len = strlen(section);
	return len > 1 && section[len - 1] == '*' ? len - 1 : 0;
}

static bool section_matches(const char *pattern, const char *section)
{
	size_t prefix = family_prefix(pattern);
	if (prefix == 0)
		return strcmp(pattern, section) == 0;
	return strncmp(pattern, section, prefix) == 0 && section[prefix] != '\0';
}

/* The array and count of a family. */
static char **family_items(const struct conf_family *family, const void *settings)
{
	return (char **)((char *)settings + family->items_offset);
}

static size_t *family_count(const struct conf_family *family, const void *settings)
{
	return (size_t *)((char *)settings + family->count_offset);
}

static char *family_item(const struct conf_family *family, const void *settings, size_t index)
{
	return *family_items(family, settings) + index * family->item_size;
}

static const char *item_name(const char *item)
{
	return *(char *const *)item;
}

static const struct conf_family *find_family(const struct conf_table *table, const char *section)
{
	const struct conf_family *family = table->families;
	while (family != NULL && family->section != NULL) {
		if (section_matches(family->section, section))
			return family;
		family++;
	}
	return NULL;
}

/* The family that an option belongs to, NULL for a plain section. */
static const struct conf_family *option_family(const struct conf_table *table,
					       const struct conf_option *option)
{
	return family_prefix(option->section) ? find_family(table, option->section) : NULL;
}

/* Levenshtein distance without case, of names that are short by then; at most CAP. */
static unsigned name_distance(const char *a, const char *b, unsigned cap)
{
	unsigned row[128];
	size_t b_len = strlen(b);
	if (b_len >= sizeof(row) / sizeof(row[0]))
		return cap;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = diagonal + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[b_len] < cap ? row[b_len] : cap;
}

/* The nearest section (KEY NULL) or key of SECTION, or NULL when none is near. */
static const char *nearest(const struct conf_table *table, const char *section, const char *key)
{
	const char *wanted = key ? key : section;
	unsigned best = (unsigned)strlen(wanted) / 2 + 2;
	const char *found = NULL;
	for (const struct conf_option *option = table->options; option->section; option++) {
		if (key != NULL && !section_matches(option->section, section))
			continue;
		const char *known = key ? option->key : option->section;
		unsigned distance = name_distance(wanted, known, best);
		if (distance < best) {
			best = distance;
			found = known;
		}
	}
	return found;
}

/* Where KEY is known in another section: a frequent slip. */
static const char *section_of_key(const struct conf_table *table, const char *key)
{
	for (const struct conf_option *option = table->options; option->section; option++)
		if (strcmp(option->key, key) == 0)
			return option->section;
	return NULL;
}

static void check_key(struct loader *loader, const struct conf_section *section,
		      const struct conf_entry *entry)
{
	for (const struct conf_option *option = loader->table->options; option->section; option++)
		if (section_matches(option->section, section->name) &&
		    strcmp(option->key, entry->key) == 0)
			return;
	const char *elsewhere = section_of_key(loader->table, entry->key);
	const char *near = nearest(loader->table, section->name, entry->key);
	if (elsewhere != NULL)
		conf_mistake(&loader->mistakes,
			     "%s:%u: [%s] %s: unknown key here; it belongs to section [%s]",
			     loader->name, entry->line, section->name, entry->key, elsewhere);
	else if (near != NULL)
		conf_mistake(&loader->mistakes,
			     "%s:%u: [%s] %s: unknown key; the nearest known one is \"%s\"",
			     loader->name, entry->line, section->name, entry->key, near);
	else
		conf_mistake(&loader->mistakes, "%s:%u: [%s] %s: unknown key", loader->name,
			     entry->line, section->name, entry->key);
}

static void check_names(struct loader *loader)
{
	for (size_t i = 0; i < loader->file->count; i++) {
		const struct conf_section *section = &loader->file->sections[i];
		const struct conf_option *option = loader->table->options;
		while (option->section && !section_matches(option->section, section->name))
			option++;
		if (option->section == NULL) {
			const char *near = nearest(loader->table, section->name, NULL);
			conf_mistake(&loader->mistakes, "%s:%u: [%s]: unknown section%s%s%s",
				     loader->name, section->line, section->name,
				     near ? "; the nearest known one is [" : "", near ? near : "",
				     near ? "]" : "");
			continue;
		}
		for (size_t k = 0; k < section->count; k++)
			check_key(loader, section, &section->entries[k]);
	}
}

static bool set_string(struct loader *loader, char **slot, const char *text)
{
	*slot = strdup(text);
	if (*slot == NULL)
		loader->out_of_memory = true;
	return true;
}

/* False: TEXT is not acceptable. */
static bool set_value(struct loader *loader, const struct conf_option *option, char *base,
		      const char *text)
{
	void *slot = base + option->offset;
	int64_t number;
	switch (option->type) {
	case CONF_STRING:
		return set_string(loader, slot, text);
	case CONF_PATH:
		if (text[0] != '/' &&
		    (text[0] != '\0' || option->fallback == NULL || option->fallback[0] != '\0'))
			return false;
		return set_string(loader, slot, text);
	case CONF_CHOICE:
		if (!conf_is_choice(option->choices, text))
			return false;
		return set_string(loader, slot, text);
	case CONF_BOOL:
		return conf_parse_bool(text, slot);
	default:
		if (!conf_parse_number(option->type, text, &number) ||
		    !conf_in_range(option, number))
			return false;
		memcpy(slot, &number, sizeof(number));
		return true;
	}
}

static void load_option(struct loader *loader, const struct conf_option *option,
			const char *section, char *base)
{
	const struct conf_section *found =
		loader->file ? conf_file_find(loader->file, section) : NULL;
	const struct conf_entry *entry = found ? conf_section_find(found, option->key) : NULL;
	const char *text = entry ? entry->value : option->fallback;
	if (text == NULL) {
		conf_mistake(&loader->mistakes, "%s: [%s] %s: is required (%s)", loader->name,
			     section, option->key, option->help);
		return;
	}
	if (set_value(loader, option, base, text))
		return;

	struct buf allowed = BUF_INIT;
	conf_describe(option, &allowed);
	bool secret = option->flags & CONF_SECRET;
	conf_mistake(&loader->mistakes, "%s:%u: [%s] %s: \"%.80s\" is not allowed; expected %s",
		     loader->name, entry ? entry->line : 0, section, option->key,
		     secret ? "(hidden)" : text, buf_str(&allowed));
	buf_free(&allowed);
	/* A string is never NULL, whatever happens next. */
	if (is_string(option->type))
		set_string(loader, (char **)(base + option->offset), "");
}

static void add_items(struct loader *loader)
{
	for (size_t i = 0; loader->file != NULL && i < loader->file->count; i++) {
		const char *section = loader->file->sections[i].name;
		const struct conf_family *family = find_family(loader->table, section);
		if (family == NULL)
			continue;
		char **items = family_items(family, loader->settings);
		size_t *count = family_count(family, loader->settings);
		char *grown = realloc(*items, (*count + 1) * family->item_size);
		if (grown == NULL) {
			loader->out_of_memory = true;
			return;
		}
		*items = grown;
		char *item = grown + *count * family->item_size;
		memset(item, 0, family->item_size);
		(*count)++;
		set_string(loader, (char **)item, section + family_prefix(family->section));
	}
}

static void load_options(struct loader *loader)
{
	for (const struct conf_option *option = loader->table->options; option->section; option++) {
		const struct conf_family *family = option_family(loader->table, option);
		if (family == NULL) {
			load_option(loader, option, option->section, loader->settings);
			continue;
		}
		for (size_t i = 0; i < *family_count(family, loader->settings); i++) {
			char *item = family_item(family, loader->settings, i);
			char section[256];
			snprintf(section, sizeof(section), "%.*s%s",
				 (int)family_prefix(family->section), family->section,
				 item_name(item) ? item_name(item) : "");
			load_option(loader, option, section, item);
		}
	}
}

static void check_secrets(struct loader *loader)
{
	if (loader->file == NULL || !(loader->file->mode & S_IROTH))
		return;
	for (const struct conf_option *option = loader->table->options; option->section; option++) {
		if (!(option->flags & CONF_SECRET) || family_prefix(option->section))
			continue;
		const char *text = *(char **)(loader->settings + option->offset);
		if (text == NULL || text[0] == '\0')
			continue;
		conf_mistake(&loader->mistakes,
			     "%s: holds a secret ([%s] %s) and every user can read it; run: chmod "
			     "o-rwx %s",
			     loader->name, option->section, option->key, loader->name);
		return;
	}
}

enum result conf_load(const struct conf_table *table, const char *file, void *settings,
		      struct buf *mistakes, struct error *err)
{
	struct conf_file *source = NULL;
	struct loader loader = {
		.table = table,
		.name = file ? file : "defaults",
		.settings = settings,
		.mistakes = {.text = mistakes, .first = err},
	};
	memset(settings, 0, table->size);
	if (file != NULL) {
		enum result result = conf_file_scan(file, &source, &loader.mistakes);
		if (result != RESULT_FOUND)
			return result;
		loader.file = source;
		check_names(&loader);
		add_items(&loader);
	}
	load_options(&loader);
	check_secrets(&loader);
	conf_file_free(&source);
	if (loader.out_of_memory) {
		conf_free(table, settings);
		return result_error(err, RESULT_TEMP, "%s: out of memory", loader.name);
	}
	if (loader.mistakes.count > 0) {
		conf_free(table, settings);
		return RESULT_PERM;
	}
	return RESULT_FOUND;
}

static void free_strings(const struct conf_option *option, char *base)
{
	if (is_string(option->type))
		secret_free((char **)(base + option->offset));
}

void conf_free(const struct conf_table *table, void *settings)
{
	for (const struct conf_option *option = table->options; option->section; option++) {
		const struct conf_family *family = option_family(table, option);
		if (family == NULL)
			free_strings(option, settings);
		for (size_t i = 0; family != NULL && i < *family_count(family, settings); i++)
			free_strings(option, family_item(family, settings, i));
	}
	const struct conf_family *family = table->families;
	for (; family != NULL && family->section != NULL; family++) {
		for (size_t i = 0; i < *family_count(family, settings); i++)
			free(*(char **)family_item(family, settings, i));
		free(*family_items(family, settings));
	}
	memset(settings, 0, table->size);
}

/* A text in the way that the file would have it. What was read from a file can always be. */
static void print_text(struct buf *out, const char *text)
{
	size_t len = strlen(text);
	bool bare = len > 0 && strpbrk(text, ";#\"'\\ \t") == NULL;
	if (bare)
		buf_puts(out, text);
	else if (strchr(text, '"') == NULL)
		buf_printf(out, "\"%s\"", text);
	else if (strchr(text, '\'') == NULL)
		buf_printf(out, "'%s'", text);
	else
		buf_puts(out, text);
}

static void print_value(struct buf *out, const struct conf_option *option, const char *base)
{
	const void *slot = base + option->offset;
	int64_t number;
	if (is_string(option->type)) {
		const char *text = *(char *const *)slot;
		if ((option->flags & CONF_SECRET) && text[0] != '\0')
			buf_puts(out, "(set)");
		else
			print_text(out, text);
	} else if (option->type == CONF_BOOL) {
		buf_puts(out, *(const bool *)slot ? "yes" : "no");
	} else {
		memcpy(&number, slot, sizeof(number));
		conf_print_number(out, option->type, number);
	}
}

/* The options from FIRST on that share its section. */
static void dump_section(const struct conf_option *first, const char *name, const char *base,
			 struct buf *out)
{
	size_t prefix = family_prefix(first->section);
	buf_printf(out, "%s[%.*s%s]\n", out->len > 0 ? "\n" : "",
		   (int)(prefix ? prefix : strlen(first->section)), first->section, name);
	for (const struct conf_option *option = first;
	     option->section != NULL && strcmp(option->section, first->section) == 0; option++) {
		buf_printf(out, "%s = ", option->key);
		print_value(out, option, base);
		buf_putc(out, '\n');
	}
}

void conf_dump(const struct conf_table *table, const void *settings, struct buf *out)
{
	const char *section = "";
	for (const struct conf_option *option = table->options; option->section; option++) {
		if (strcmp(option->section, section) == 0)
			continue;
		section = option->section;
		const struct conf_family *family = option_family(table, option);
		if (family == NULL)
			dump_section(option, "", settings, out);
		for (size_t i = 0; family != NULL && i < *family_count(family, settings); i++) {
			const char *item = family_item(family, settings, i);
			dump_section(option, item_name(item), item, out);
		}
	}
}

static bool same_value(const struct conf_option *option, const char *a, const char *b)
{
	a += option->offset;
	b += option->offset;
	if (is_string(option->type))
		return strcmp(*(char *const *)a, *(char *const *)b) == 0;
	return memcmp(a, b, option->type == CONF_BOOL ? sizeof(bool) : sizeof(int64_t)) == 0;
}

static const char *find_item(const struct conf_family *family, const void *settings,
			     const char *name)
{
	for (size_t i = 0; i < *family_count(family, settings); i++)
		if (strcmp(item_name(family_item(family, settings, i)), name) == 0)
			return family_item(family, settings, i);
	return NULL;
}

/* Items of A that are absent from B, or (when COMPARE) differ there. */
static bool items_differ(const struct conf_option *option, const struct conf_family *family,
			 const void *a, const void *b, bool compare, struct buf *changed)
{
	bool differ = false;
	for (size_t i = 0; i < *family_count(family, a); i++) {
		const char *item = family_item(family, a, i);
		const char *other = find_item(family, b, item_name(item));
		if (other != NULL && (!compare || same_value(option, item, other)))
			continue;
		buf_printf(changed, "[%.*s%s] %s\n", (int)family_prefix(option->section),
			   option->section, item_name(item), option->key);
		differ = true;
	}
	return differ;
}

bool conf_reloadable(const struct conf_table *table, const void *before, const void *after,
		     struct buf *changed)
{
	bool reloadable = true;
	for (const struct conf_option *option = table->options; option->section; option++) {
		if (option->flags & CONF_RELOAD)
			continue;
		const struct conf_family *family = option_family(table, option);
		if (family != NULL) {
			bool set = items_differ(option, family, after, before, true, changed);
			bool gone = items_differ(option, family, before, after, false, changed);
			if (set || gone)
				reloadable = false;
		} else if (!same_value(option, before, after)) {
			buf_printf(changed, "[%s] %s\n", option->section, option->key);
			reloadable = false;
		}
	}
	return reloadable;
}

static void keep_value(const struct conf_option *option, const char *before, char *after)
{
	if (!is_string(option->type)) {
		memcpy(after + option->offset, before + option->offset,
		       option->type == CONF_BOOL ? sizeof(bool) : sizeof(int64_t));
		return;
	}
	/* Without memory for a copy the new value stays: it takes effect at the next restart. */
	char *copy = strdup(*(char *const *)(before + option->offset));
	if (copy == NULL)
		return;
	secret_free((char **)(after + option->offset));
	*(char **)(after + option->offset) = copy;
}

void conf_keep(const struct conf_table *table, const void *before, void *after)
{
	for (const struct conf_option *option = table->options; option->section; option++)
		if (!(option->flags & CONF_RELOAD) && option_family(table, option) == NULL)
			keep_value(option, before, after);
}
