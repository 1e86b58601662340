/*
 * NAME
 *	old_table - today's tables of Postfix, through postmap -q -
 *
 * DESCRIPTION
 *	Every round asks for one more key of Postfix's order, in one run of postmap, of those
 *	questions that have no answer yet. The keys and answers go through unnamed files, so that
 *	neither side waits for the other.
 *
 *	postmap ends at the first key that its table cannot answer. Such a run is split in two, until
 *	the key is found; it then counts as "cannot be asked". A table that can answer neither the
 *	first nor the last key is broken, and so is one with more than 100 such keys. (Each failure
 *	costs a second: postmap rests before it ends.)
 *
 * BUGS
 *	The bare user that Postfix also tries for local domains is not asked for.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/old_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/address.h"

#define KEYS_MAX   40 /* of one question: an address, and a domain of many labels */
#define FAULTS_MAX 100

struct batch {
	const struct old_tables *tables;
	bool derived; /* only tables for which Postfix derives keys */
	struct old_answer **answers;
	char **keys;
	size_t count;
	unsigned faults;
	bool answered; /* some run came to its end */
};

struct run {
	FILE *in, *out, *diagnostics;
};

enum result old_tables_add(struct old_tables *tables, const char *name, struct error *err)
{
	static const char *const patterns[] = {"regexp",    "pcre",    "cidr",     "tcp",
					       "socketmap", "pipemap", "unionmap", "randmap"};
	const char *type = strncmp(name, "proxy:", 6) == 0 ? name + 6 : name;
	const size_t type_len = strcspn(type, ":");
	char *copy;

	if (type_len == 0 || !type[type_len] || !type[type_len + 1])
		return result_error(err, RESULT_PERM, "\"%s\" is not TYPE:TABLE", name);
	if (tables->count == OLD_TABLES_MAX)
		return result_error(err, RESULT_PERM, "%s: more than %d tables",
				    tables->parameter->name, OLD_TABLES_MAX);
	copy = strdup(name);
	if (!copy)
		return result_error(err, RESULT_TEMP, "out of memory");
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (strlen(patterns[i]) == type_len && strncmp(type, patterns[i], type_len) == 0)
			tables->patterns[tables->count] = true;
	tables->names[tables->count++] = copy;
	return RESULT_FOUND;
}

void old_tables_free(struct old_tables *tables)
{
	for (size_t i = 0; i < tables->count; i++)
		free(tables->names[i]);
	tables->count = 0;
}

struct key {
	struct buf text;
	bool stripped, catchall;
};

struct order {
	struct key keys[KEYS_MAX];
	size_t count;
};

static struct buf *add_key(struct order *order, bool stripped, bool catchall)
{
	struct key *key = &order->keys[order->count];

	if (order->count < KEYS_MAX)
		order->count++;
	else
		key = &order->keys[KEYS_MAX - 1];
	buf_reset(&key->text);
	key->stripped = stripped;
	key->catchall = catchall;
	return &key->text;
}

/* An address as cleanup asks for it, in quotes where it needs them; most others ask for the plain
 * form next. */
static void add_address(struct order *order, const struct old_tables *tables, const char *local,
			size_t len, const char *domain, bool stripped)
{
	struct buf *quoted = add_key(order, stripped, false);

	address_print(quoted, local, len, domain);
	if (buf_str(quoted)[0] == '"' && !tables->parameter->appends)
		buf_printf(add_key(order, stripped, false), "%.*s@%s", (int)len, local, domain);
}

/* DOMAIN's parents, each with DOT before it or not. */
static void add_parents(struct order *order, const char *domain, bool dot)
{
	while ((domain = strchr(domain + 1, '.')) != NULL && domain[1])
		buf_puts(add_key(order, false, false), dot ? domain : domain + 1);
}

static void make_order(struct order *order, const struct old_tables *tables, const char *text,
		       const char *delimiters)
{
	const enum parameter_order kind = tables->parameter->order;
	struct address address;
	const bool is_address = address_parse(&address, text, strlen(text), delimiters);

	order->count = 0;
	if (!is_address || kind == ORDER_EXACT || kind == ORDER_PARENTS) {
		buf_puts(add_key(order, false, false), text);
		if (!is_address && kind == ORDER_PARENTS)
			add_parents(order, text, false);
		if (!is_address && kind == ORDER_TRANSPORT)
			add_parents(order, text, true);
		return;
	}
	add_address(order, tables, address.typed, strlen(address.typed), address.domain, false);
	if (address.typed_extension)
		add_address(order, tables, address.typed,
			    (size_t)(address.typed_extension - address.typed), address.domain,
			    true);
	if (kind == ORDER_ADDRESS) {
		buf_printf(add_key(order, false, true), "@%s", address.domain);
		return;
	}
	buf_puts(add_key(order, false, false), address.domain);
	add_parents(order, address.domain, true);
}

static void free_order(struct order *order)
{
	for (size_t i = 0; i < KEYS_MAX; i++)
		buf_free(&order->keys[i].text);
}

/* Never returns. */
static void become_postmap(const struct batch *batch, const struct run *run)
{
	const char *path = getenv("PATH");
	char *arguments[OLD_TABLES_MAX + 5];
	struct buf with_sbin = BUF_INIT;
	size_t count = 0;

	arguments[count++] = (char[]){"postmap"};
	arguments[count++] = (char[]){"-q"};
	arguments[count++] = (char[]){"-"};
	for (size_t i = 0; i < batch->tables->count; i++)
		if (!batch->derived || !batch->tables->patterns[i])
			arguments[count++] = batch->tables->names[i];
	arguments[count] = NULL;
	/* postmap is where administrators' programs are. */
	buf_printf(&with_sbin, "%s:/usr/local/sbin:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
	if (!buf_ok(&with_sbin) || setenv("PATH", buf_str(&with_sbin), 1) != 0 ||
	    dup2(fileno(run->in), STDIN_FILENO) < 0 || dup2(fileno(run->out), STDOUT_FILENO) < 0 ||
	    dup2(fileno(run->diagnostics), STDERR_FILENO) < 0)
		_exit(127);
	execvp(arguments[0], arguments);
	_exit(127);
}

/* What postmap said last. */
static void read_diagnostics(FILE *diagnostics, char *text_r, size_t size)
{
	char line[400];

	text_r[0] = '\0';
	rewind(diagnostics);
	while (fgets(line, sizeof(line), diagnostics)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0])
			snprintf(text_r, size, "%s", line);
	}
}

/* NONE: it could not answer some key. */
static enum result wait_postmap(pid_t pid, const struct run *run, struct error *err)
{
	char said[400];
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return result_error(err, RESULT_TEMP, "postmap: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return result_error(err, RESULT_PERM, "postmap cannot be run; is Postfix here?");
	read_diagnostics(run->diagnostics, said, sizeof(said));
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1 || strstr(said, "fatal: "))
		return result_error(err, RESULT_NONE, "%s", said[0] ? said : "postmap was killed");
	return RESULT_FOUND;
}

/* The lines "KEY<tab>VALUE" come in the order of the keys; another line continues a value. */
static enum result read_answers(struct batch *batch, size_t first, size_t count, FILE *out,
				struct error *err)
{
	struct old_answer *last = NULL;
	char *line = NULL;
	size_t size = 0, next = first;
	ssize_t len;

	rewind(out);
	while ((len = getline(&line, &size, out)) > 0) {
		const size_t key_len = strcspn(line, "\t");
		size_t i = next;
		struct buf value = BUF_INIT;

		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		while (i < first + count && (!line[key_len] || strlen(batch->keys[i]) != key_len ||
					     strncmp(batch->keys[i], line, key_len) != 0))
			i++;
		if (i == first + count) {
			if (!last)
				continue;
			buf_printf(&value, "%s\n%s", last->value, line);
			free(last->value);
		} else {
			last = batch->answers[i];
			next = i + 1;
			buf_puts(&value, line + key_len + 1);
		}
		last->result = RESULT_FOUND;
		last->value = buf_take(&value);
		if (!last->value) {
			last->result = RESULT_NONE;
			free(line);
			return result_error(err, RESULT_TEMP, "out of memory");
		}
	}
	free(line);
	return RESULT_FOUND;
}

static enum result run_postmap(struct batch *batch, size_t first, size_t count, struct error *err)
{
	struct run run = {tmpfile(), tmpfile(), tmpfile()};
	enum result result;
	pid_t pid;

	if (!run.in || !run.out || !run.diagnostics) {
		result = result_error(err, RESULT_TEMP, "temporary file: %s", strerror(errno));
	} else {
		for (size_t i = first; i < first + count; i++)
			fprintf(run.in, "%s\n", batch->keys[i]);
		result = fflush(run.in) == 0 && !ferror(run.in)
				 ? RESULT_FOUND
				 : result_error(err, RESULT_TEMP, "temporary file: %s",
						strerror(errno));
		rewind(run.in);
	}
	if (result == RESULT_FOUND) {
		pid = fork();
		if (pid == 0)
			become_postmap(batch, &run);
		result = pid < 0 ? result_error(err, RESULT_TEMP, "fork: %s", strerror(errno))
				 : wait_postmap(pid, &run, err);
	}
	if (result == RESULT_FOUND)
		result = read_answers(batch, first, count, run.out, err);
	if (run.in)
		fclose(run.in);
	if (run.out)
		fclose(run.out);
	if (run.diagnostics)
		fclose(run.diagnostics);
	return result;
}

static enum result broken(const struct batch *batch, struct error *err)
{
	return result_error(err, RESULT_TEMP, "the tables of %s cannot be asked: %.300s",
			    batch->tables->parameter->name, err->text);
}

/* After a failure of the whole batch: can the tables answer at all? */
static enum result probe(struct batch *batch, struct error *err)
{
	enum result result = run_postmap(batch, 0, 1, err);

	if (result == RESULT_NONE && batch->count > 1)
		result = run_postmap(batch, batch->count - 1, 1, err);
	batch->answered = result == RESULT_FOUND;
	return result == RESULT_NONE ? broken(batch, err) : result;
}

static void forget(struct batch *batch, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		free(batch->answers[i]->value);
		batch->answers[i]->value = NULL;
		batch->answers[i]->result = RESULT_NONE;
	}
}

static enum result ask_range(struct batch *batch, size_t first, size_t count, struct error *err)
{
	enum result result;

	forget(batch, first, count);
	result = run_postmap(batch, first, count, err);
	if (result == RESULT_FOUND)
		batch->answered = true;
	if (result == RESULT_NONE && !batch->answered) {
		result = probe(batch, err);
		if (result == RESULT_FOUND)
			result = RESULT_NONE;
	}
	if (result != RESULT_NONE)
		return result;
	if (count == 1) {
		batch->answers[first]->result = RESULT_TEMP;
		return ++batch->faults > FAULTS_MAX ? broken(batch, err) : RESULT_FOUND;
	}
	result = ask_range(batch, first, count / 2, err);
	return result == RESULT_FOUND ? ask_range(batch, first + count / 2, count - count / 2, err)
				      : result;
}

/* Asks for the INDEXth key of every question that is open and has one. *MORE_R: any had. */
static enum result ask_round(struct batch *batch, unsigned index, const char *delimiters,
			     struct old_answer *answers, size_t count, bool *more_r,
			     struct error *err)
{
	struct order order = {.count = 0};
	enum result result = RESULT_FOUND;

	batch->count = 0;
	for (size_t i = 0; i < count && result == RESULT_FOUND; i++) {
		struct old_answer *answer = &answers[i];

		if (answer->result != RESULT_NONE)
			continue;
		make_order(&order, batch->tables, answer->key, delimiters);
		if (index >= order.count)
			continue;
		answer->hit = index;
		answer->stripped = order.keys[index].stripped;
		answer->catchall = order.keys[index].catchall;
		batch->answers[batch->count] = answer;
		batch->keys[batch->count] = buf_take(&order.keys[index].text);
		if (!batch->keys[batch->count++])
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	*more_r = batch->count > 0;
	if (*more_r && result == RESULT_FOUND)
		result = ask_range(batch, 0, batch->count, err);
	for (size_t i = 0; i < batch->count; i++)
		free(batch->keys[i]);
	free_order(&order);
	return result;
}

enum result old_tables_ask(const struct old_tables *tables, const char *delimiters,
			   struct old_answer *answers, size_t count, struct error *err)
{
	struct batch batch = {
		.tables = tables,
		.answers = calloc(count + 1, sizeof(*batch.answers)),
		.keys = calloc(count + 1, sizeof(*batch.keys)),
	};
	enum result result = batch.answers && batch.keys
				     ? RESULT_FOUND
				     : result_error(err, RESULT_TEMP, "out of memory");
	bool more = true, fixed = false;

	for (size_t i = 0; i < tables->count; i++)
		fixed = fixed || !tables->patterns[i];
	for (size_t i = 0; i < count; i++)
		answers[i].result = RESULT_NONE;
	for (unsigned index = 0; result == RESULT_FOUND && more && (index == 0 || fixed); index++) {
		batch.derived = index > 0;
		result = ask_round(&batch, index, delimiters, answers, count, &more, err);
	}
	free(batch.answers);
	free(batch.keys);
	return result;
}

void old_answers_free(struct old_answer *answers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(answers[i].value);
	free(answers);
}
