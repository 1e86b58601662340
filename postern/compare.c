/*
 * NAME
 *	compare - postern compare PARAMETER=TYPE:TABLE...
 *
 * DESCRIPTION
 *	Asks Postfix's present tables and ours about every address and domain of the database and
 *	about traps made of them, and prints what would change. Answers are compared as Postfix uses
 *	them: found or not; a list in any order; a text. A mailbox that answers itself is as good as
 *	no alias.
 *
 *	Traps: for every domain an unknown user, with and without extension, the domain in another
 *	case, one below it, and the domain where an address is wanted; for the first address of every
 *	domain an extension, another case, an accent, a local part that needs quotes; for every alias
 *	domain the first addresses of its target.
 *
 * LIMITS
 *	All keys and answers of one parameter are in memory.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/accounts_edit.h"
#include "common/address.h"
#include "common/maps.h"
#include "common/members.h"
#include "common/site_map.h"
#include "postern/compare.h"
#include "postern/postern.h"

#define PARAMETERS_MAX 32
#define ALIAS_SAMPLES  20 /* addresses of the target that are tried in an alias domain */

struct keys {
	char **items;
	size_t count;
	bool failed;
};

struct comparison {
	struct postern *postern;
	struct old_tables tables[PARAMETERS_MAX];
	size_t count;
	struct keys addresses; /* of the database, folded */
	struct keys domains;
	size_t differences;
};

static void keys_add(struct keys *keys, const struct buf *text)
{
	char **grown = realloc(keys->items, (keys->count + 1) * sizeof(*grown));

	if (grown)
		keys->items = grown;
	if (!grown || !buf_ok(text) || !(grown[keys->count] = strdup(buf_str(text))))
		keys->failed = true;
	else
		keys->count++;
}

static void keys_print(struct keys *keys, const char *format, ...) PRINTF_LIKE(2, 3);

static void keys_print(struct keys *keys, const char *format, ...)
{
	struct buf text = BUF_INIT;
	char line[2 * ADDRESS_MAX + 64];
	va_list args;

	va_start(args, format);
	if (vsnprintf(line, sizeof(line), format, args) < (int)sizeof(line)) {
		buf_puts(&text, line);
		keys_add(keys, &text);
	}
	va_end(args);
	buf_free(&text);
}

static void keys_free(struct keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		free(keys->items[i]);
	free(keys->items);
	*keys = (struct keys){0};
}

/* Adds the column of a list query of the preset; a preset without the query has none. */
static enum result list(struct comparison *comparison, const char *query, const char *column,
			const char *domain, struct keys *keys, struct error *err)
{
	struct sql_statement *rows;
	enum result result;

	if (!schema_has_query(comparison->postern->schema, query))
		return RESULT_FOUND;
	result = accounts_list(comparison->postern->accounts, query, domain, &rows, err);
	while (result == RESULT_FOUND && (result = sql_step(rows, err)) == RESULT_FOUND) {
		const char *text = sql_text(rows, sql_column_index(rows, column));

		if (text && address_key_ok(text, strlen(text)))
			keys_print(keys, "%s", text);
	}
	if (rows)
		sql_finish(rows);
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

static const char *domain_of(const char *address)
{
	const char *at = strrchr(address, '@');

	return at ? at + 1 : "";
}

/* "@alias" rows are domains, other addresses are addresses. */
static void sort_out(struct comparison *comparison, struct keys *listed)
{
	for (size_t i = 0; i < listed->count; i++)
		if (listed->items[i][0] != '@')
			keys_print(&comparison->addresses, "%s", listed->items[i]);
	keys_free(listed);
}

static int compare_domains(const char *a, const char *b)
{
	return strcasecmp(domain_of(a), domain_of(b));
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_domain(const void *a, const void *b)
{
	const int domains = compare_domains(*(char *const *)a, *(char *const *)b);

	return domains ? domains : by_text(a, b);
}

/* In this order, each once. */
static void keys_sort(struct keys *keys, int (*order)(const void *a, const void *b))
{
	size_t kept = 0;

	if (keys->count > 0)
		qsort(keys->items, keys->count, sizeof(*keys->items), order);
	for (size_t i = 0; i < keys->count; i++)
		if (kept > 0 && strcmp(keys->items[kept - 1], keys->items[i]) == 0)
			free(keys->items[i]);
		else
			keys->items[kept++] = keys->items[i];
	keys->count = kept;
}

/* The names that are aliases of DOMAIN, and its first addresses in each. */
static enum result add_alias_domains(struct comparison *comparison, const char *domain,
				     struct keys *more, struct error *err)
{
	const struct sql_param params[] = {{"domain", domain}, {"catchall", NULL}};
	struct buf catchall = BUF_INIT;
	struct sql_param all[2] = {params[0], params[1]};
	struct sql_statement *rows;
	enum result result;

	buf_printf(&catchall, "@%s", domain);
	all[1].value = buf_str(&catchall);
	result = schema_run(accounts_session(comparison->postern->accounts), "domain_aliases", all,
			    2, &rows, err);
	while (result == RESULT_FOUND && (result = sql_step(rows, err)) == RESULT_FOUND) {
		const char *name = sql_text(rows, sql_column_index(rows, "name"));
		unsigned samples = 0;

		if (!name)
			continue;
		name += name[0] == '@';
		keys_print(&comparison->domains, "%s", name);
		for (size_t i = 0; i < comparison->addresses.count && samples < ALIAS_SAMPLES;
		     i++) {
			const char *address = comparison->addresses.items[i];

			if (!address_equal(domain_of(address), domain))
				continue;
			keys_print(more, "%.*s@%s", (int)(strrchr(address, '@') - address), address,
				   name);
			samples++;
		}
	}
	if (rows)
		sql_finish(rows);
	buf_free(&catchall);
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

static enum result list_all(struct comparison *comparison, struct error *err)
{
	struct keys listed = {0}, more = {0};
	enum result result =
		list(comparison, "domain_list", "name", NULL, &comparison->domains, err);
	const size_t domains = comparison->domains.count;

	if (result == RESULT_FOUND)
		result = list(comparison, "user_list", "address", NULL, &listed, err);
	if (result == RESULT_FOUND)
		result = list(comparison, "alias_list", "address", NULL, &listed, err);
	sort_out(comparison, &listed);
	for (size_t i = 0; i < domains && result == RESULT_FOUND; i++)
		result = add_alias_domains(comparison, comparison->domains.items[i], &more, err);
	sort_out(comparison, &more);
	keys_sort(&comparison->domains, by_text);
	keys_sort(&comparison->addresses, by_domain);
	if (result == RESULT_FOUND && (comparison->domains.failed || comparison->addresses.failed))
		result = result_error(err, RESULT_TEMP, "out of memory");
	return result;
}

/* TEXT with every other letter in upper case. */
static void mix_case(struct buf *out, const char *text)
{
	for (size_t i = 0; text[i]; i++)
		buf_putc(out, (char)(i % 2 ? text[i] : toupper((unsigned char)text[i])));
}

static void add_domain_traps(struct keys *keys, const struct parameter *parameter,
			     const char *domain)
{
	struct buf mixed = BUF_INIT;

	mix_case(&mixed, domain);
	if (parameter->keys != KEYS_ADDRESS) {
		keys_print(keys, "%s", domain);
		keys_print(keys, "%s", buf_str(&mixed));
		keys_print(keys, "postern-compare.%s", domain);
	}
	if (parameter->keys != KEYS_DOMAIN) {
		/* Postfix asks address maps for bare domains, too: virtual_alias_domains. */
		if (parameter->keys == KEYS_ADDRESS)
			keys_print(keys, "%s", domain);
		keys_print(keys, "postern-compare@%s", domain);
		keys_print(keys, "postern-compare+x@%s", domain);
		keys_print(keys, "postern-compare@sub.%s", domain);
	}
	buf_free(&mixed);
}

static void add_address_traps(struct keys *keys, const char *delimiters, const char *address)
{
	const size_t len = (size_t)(strrchr(address, '@') - address);
	const char *domain = domain_of(address);
	struct buf mixed = BUF_INIT;
	size_t vowel = strcspn(address, "aeiou");

	if (delimiters[0]) {
		keys_print(keys, "%.*s%cPostern-Compare@%s", (int)len, address, delimiters[0],
			   domain);
		keys_print(keys, "%.*s%c@%s", (int)len, address, delimiters[0], domain);
	}
	mix_case(&mixed, address);
	keys_print(keys, "%s", buf_str(&mixed));
	if (vowel < len)
		keys_print(keys, "%.*s\xc3\xa9%s", (int)vowel, address, address + vowel + 1);
	keys_print(keys, "\"postern %.*s\"@%s", (int)len, address, domain);
	buf_free(&mixed);
}

static void make_keys(const struct comparison *comparison, const struct parameter *parameter,
		      struct keys *keys)
{
	const struct keys *addresses = &comparison->addresses;
	const char *delimiters = comparison->postern->settings.address.recipient_delimiter;

	for (size_t i = 0; i < comparison->domains.count; i++)
		add_domain_traps(keys, parameter, comparison->domains.items[i]);
	add_domain_traps(keys, parameter, "postern-compare.invalid");
	if (parameter->keys == KEYS_ANY)
		keys_print(keys, "%s", parameter->order == ORDER_TRANSPORT ? "*" : "<>");
	for (size_t i = 0; i < addresses->count && parameter->keys != KEYS_DOMAIN; i++) {
		const bool first = i == 0 || compare_domains(addresses->items[i - 1],
							     addresses->items[i]) != 0;

		keys_print(keys, "%s", addresses->items[i]);
		if (first)
			add_address_traps(keys, delimiters, addresses->items[i]);
	}
}

/* The key as Postfix would send it: an address in quotes where it needs them. */
static void print_key(struct buf *out, const char *key)
{
	struct address address;

	if (address_parse(&address, key, strlen(key), NULL))
		address_print(out, address.typed, strlen(address.typed), domain_of(key));
	else
		buf_puts(out, key);
}

static void ask_ours(const struct comparison *comparison, const struct parameter *parameter,
		     const char *key, struct our_answer *our, struct error *err)
{
	const struct settings *settings = &comparison->postern->settings;
	struct trace trace = {BUF_INIT};
	struct buf text = BUF_INIT;

	buf_reset(&our->value);
	buf_free(&our->trace);
	print_key(&text, key);
	our->site = site_map_find(settings, parameter->name) != NULL;
	our->result = maps_lookup(comparison->postern->accounts, settings, parameter->name,
				  buf_str(&text), text.len, &our->value, &trace, err);
	our->trace = trace.text;
	buf_free(&text);
}

/* What Postfix appends to the old answer when it was found without the extension. */
static void append_extension(const struct old_answer *old, const char *delimiters, struct buf *out)
{
	struct address address;
	struct member member;

	if (!old->stripped || !address_parse(&address, old->key, strlen(old->key), delimiters)) {
		buf_puts(out, old->value);
		return;
	}
	for (const char *cursor = old->value; member_next(&cursor, &member);) {
		const bool behind = out->len > 0 && member_is_domain(&member);

		if (behind)
			buf_printf(out, ",%s%.*s", address.typed_extension, (int)member.len,
				   member.text);
		else
			member_append(out, &member, address.typed_extension);
	}
}

/* A list in one order, folded, without repetition; empty when it is KEY alone. */
static void print_list(struct buf *out, const char *text, const char *key)
{
	char folded[ADDRESS_MAX + 1];
	struct keys items = {0};
	struct member member;

	for (const char *cursor = text; member_next(&cursor, &member);)
		if (address_fold(folded, sizeof(folded), member.text, member.len))
			keys_print(&items, "%s", folded);
		else
			keys_print(&items, "%.*s", (int)member.len, member.text);
	keys_sort(&items, by_text);
	for (size_t i = 0; i < items.count; i++)
		buf_printf(out, "%s%s", i > 0 ? "," : "", items.items[i]);
	keys_free(&items);
	if (address_equal(buf_str(out), key))
		buf_reset(out);
}

/* Whether Postfix would do the same with both. */
static bool same_outcome(const struct parameter *parameter, const struct old_answer *old,
			 const char *old_value, const struct our_answer *our)
{
	const char *our_value = our->result == RESULT_FOUND ? buf_str(&our->value) : "";
	struct buf one = BUF_INIT, other = BUF_INIT, key = BUF_INIT;
	bool same;

	if (old->result == RESULT_TEMP || our->result == RESULT_PERM ||
	    parameter->use == USE_EXISTENCE)
		return old->result == our->result;
	if (parameter->use == USE_TEXT)
		return old->result == our->result && strcmp(old_value, our_value) == 0;
	print_key(&key, old->key);
	print_list(&one, old_value, buf_str(&key));
	print_list(&other, our_value, buf_str(&key));
	same = strcmp(buf_str(&one), buf_str(&other)) == 0;
	/* A sender who may log in as the address itself is none that nobody may use. */
	if (!parameter->appends)
		same = same && old->result == our->result;
	buf_free(&one);
	buf_free(&other);
	buf_free(&key);
	return same;
}

static void tell(struct comparison *comparison, const struct parameter *parameter,
		 const struct old_answer *old, const char *old_value, const struct our_answer *our,
		 const struct error *err)
{
	struct output *output = &comparison->postern->output;
	struct buf error = BUF_INIT;

	comparison->differences++;
	buf_printf(&error, "error: %s", err->text);
	output->form = OUTPUT_TABLE;
	output_row(output);
	output_text(output, "map", parameter->name);
	output_text(output, "key", old->key);
	output_text(output, "old",
		    old->result == RESULT_FOUND  ? old_value
		    : old->result == RESULT_TEMP ? "error"
						 : NULL);
	output_text(output, "new",
		    our->result == RESULT_FOUND  ? buf_str(&our->value)
		    : our->result == RESULT_PERM ? buf_str(&error)
						 : NULL);
	output_text(output, "reason", compare_reason(parameter, old, our));
	output_end(output);
	buf_free(&error);
}

/* TEMP: our database is away. */
static enum result compare_answers(struct comparison *comparison, const struct parameter *parameter,
				   const struct old_answer *answers, size_t count,
				   struct error *err)
{
	const char *delimiters = comparison->postern->settings.address.recipient_delimiter;
	struct our_answer our = {.value = BUF_SECRET};
	struct buf old_value = BUF_SECRET;
	enum result result = RESULT_FOUND;

	for (size_t i = 0; i < count && result == RESULT_FOUND; i++) {
		const struct old_answer *old = &answers[i];

		err->text[0] = '\0';
		ask_ours(comparison, parameter, old->key, &our, err);
		if (our.result == RESULT_TEMP) {
			result = RESULT_TEMP;
			break;
		}
		buf_reset(&old_value);
		if (old->result == RESULT_FOUND && parameter->appends)
			append_extension(old, delimiters, &old_value);
		else if (old->result == RESULT_FOUND)
			buf_puts(&old_value, old->value);
		if (!buf_ok(&old_value) || !buf_ok(&our.trace))
			result = result_error(err, RESULT_TEMP, "out of memory");
		else if (!same_outcome(parameter, old, buf_str(&old_value), &our))
			tell(comparison, parameter, old, buf_str(&old_value), &our, err);
	}
	buf_free(&our.value);
	buf_free(&our.trace);
	buf_free(&old_value);
	return result;
}

static enum result compare_parameter(struct comparison *comparison, const struct old_tables *tables,
				     struct error *err)
{
	const char *delimiters = comparison->postern->settings.address.recipient_delimiter;
	struct keys keys = {0};
	struct old_answer *answers;
	enum result result;

	make_keys(comparison, tables->parameter, &keys);
	answers = calloc(keys.count + 1, sizeof(*answers));
	if (!answers || keys.failed) {
		free(answers);
		keys_free(&keys);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	for (size_t i = 0; i < keys.count; i++)
		answers[i].key = keys.items[i];
	result = old_tables_ask(tables, delimiters, answers, keys.count, err);
	if (result == RESULT_FOUND)
		result = compare_answers(comparison, tables->parameter, answers, keys.count, err);
	old_answers_free(answers, keys.count);
	keys_free(&keys);
	return result;
}

/* PARAMETER=TYPE:TABLE, several tables separated by commas. */
static int add_word(struct comparison *comparison, const char *word)
{
	const struct postern *postern = comparison->postern;
	const size_t len = strcspn(word, "=");
	const struct parameter *parameter = NULL;
	char name[64], table[512];
	struct error err;
	size_t i = 0;

	if (word[len] == '=' && len < sizeof(name)) {
		memcpy(name, word, len);
		name[len] = '\0';
		parameter = parameter_find(name);
	}
	if (!parameter)
		return postern_fail(postern, EX_USAGE,
				    "\"%s\" is not PARAMETER=TYPE:TABLE with a parameter that is "
				    "known here",
				    word);
	while (i < comparison->count && comparison->tables[i].parameter != parameter)
		i++;
	if (i == comparison->count)
		comparison->tables[comparison->count++].parameter = parameter;
	for (const char *p = word + len + 1; *p; p += strspn(p, ", ")) {
		const size_t table_len = strcspn(p, ", ");

		if (table_len >= sizeof(table))
			return postern_fail(postern, EX_USAGE, "%s: a table's name is too long",
					    name);
		memcpy(table, p, table_len);
		table[table_len] = '\0';
		if (old_tables_add(&comparison->tables[i], table, &err) != RESULT_FOUND)
			return postern_fail(postern, EX_USAGE, "%s", err.text);
		p += table_len;
	}
	return comparison->tables[i].count > 0
		       ? EX_OK
		       : postern_fail(postern, EX_USAGE, "%s: no table", name);
}

static bool is_map(const struct settings *settings, const char *name)
{
	if (site_map_find(settings, name))
		return true;
	for (size_t i = 0; maps_name(i); i++)
		if (strcmp(maps_name(i), name) == 0)
			return true;
	return false;
}

static int prepare(struct comparison *comparison, const struct arguments *arguments)
{
	struct postern *postern = comparison->postern;
	struct error err = {""};
	int code = postern_accounts(postern);

	for (size_t i = 0; i < arguments->word_count && code == EX_OK; i++)
		code = add_word(comparison, arguments->words[i]);
	for (size_t i = 0; i < comparison->count && code == EX_OK; i++)
		if (!is_map(&postern->settings, comparison->tables[i].parameter->name))
			code = postern_fail(postern, EX_USAGE, "there is no map %s here",
					    comparison->tables[i].parameter->name);
	if (code == EX_OK)
		code = postern_result(postern, list_all(comparison, &err), "accounts", &err);
	return code;
}

int compare(struct postern *postern, const struct arguments *arguments)
{
	struct comparison comparison = {.postern = postern};
	struct error err = {""};
	int code = prepare(&comparison, arguments);

	for (size_t i = 0; i < comparison.count && code == EX_OK; i++)
		code = postern_result(postern,
				      compare_parameter(&comparison, &comparison.tables[i], &err),
				      comparison.tables[i].parameter->name, &err);
	for (size_t i = 0; i < comparison.count; i++)
		old_tables_free(&comparison.tables[i]);
	keys_free(&comparison.addresses);
	keys_free(&comparison.domains);
	return code == EX_OK && comparison.differences > 0 ? EXIT_NOT_FOUND : code;
}
