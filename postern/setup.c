/*
 * NAME
 *	setup - postern setup postfix, sasl
 *
 * DESCRIPTION
 *	Prints the lines that connect Postfix and Cyrus SASL to the sockets of the configuration.
 *	Nothing is ever edited.
 *
 *	A socket below Postfix's queue directory is named by its relative path: daemons of Postfix
 *	work in that folder, chrooted or not, so that the same line fits both.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/setup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf.h"

#define QUEUE_DIRECTORY "/var/spool/postfix"
#define ENDPOINT_MAX    256

enum { ONLY, QUEUE }; /* the options, in main.c's order */

static void print_file(struct output *output, const struct setup_file *file, bool explain)
{
	struct buf text = BUF_INIT;
	const char *line = file->purpose;

	if (output->json) {
		output_row(output);
		output_text(output, "file", file->name);
		output_text(output, "text", buf_str(&file->text));
		output_end(output);
		return;
	}
	if (explain)
		buf_printf(&text, "# ---- %s ----\n", file->name);
	while (explain && *line) {
		const size_t len = strcspn(line, "\n");

		buf_printf(&text, "# %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
	buf_append(&text, file->text.data, file->text.len);
	if (explain)
		buf_putc(&text, '\n');
	output_raw(output, &text);
	buf_free(&text);
}

int setup_print(struct postern *postern, const char *only, struct setup_file *files, size_t count)
{
	struct buf names = BUF_INIT;
	bool printed = false;
	int code = EX_OK;

	for (size_t i = 0; i < count; i++) {
		buf_printf(&names, "%s%s", i > 0 ? ", " : "", files[i].name);
		if (only && strcmp(only, files[i].name) != 0)
			continue;
		printed = true;
		if (!buf_ok(&files[i].text))
			code = postern_fail(postern, EX_TEMPFAIL, "out of memory");
		else
			print_file(&postern->output, &files[i], only == NULL);
	}
	if (!printed)
		code = postern_fail(postern, EX_USAGE, "--only %s: the files are %s", only,
				    buf_str(&names));
	for (size_t i = 0; i < count; i++)
		buf_free(&files[i].text);
	buf_free(&names);
	return code;
}

/* The part of PATH below FOLDER, or NULL. */
static const char *below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	while (len > 1 && folder[len - 1] == '/')
		len--;
	return strncmp(path, folder, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

/*
 * The endpoint of a listen value that suits Postfix best: a socket in its queue directory, else
 * the first one. ENDPOINT_R (ENDPOINT_MAX bytes) is as Postfix writes it: unix:PATH,
 * inet:HOST:PORT.
 */
static int choose_endpoint(const struct postern *postern, const char *key, const char *listen,
			   const char *queue, char *endpoint_r)
{
	char word[ENDPOINT_MAX - sizeof("inet:")], best[sizeof(word)] = "";
	const char *relative;

	while (conf_next_word(&listen, word, sizeof(word)))
		if (!best[0] || (below(word, queue) && !below(best, queue)))
			strcpy(best, word);
	if (!best[0])
		return postern_fail(postern, EX_CONFIG, "%s is empty: name a socket", key);
	relative = below(best, queue);
	if (best[0] == '/')
		strcpy(endpoint_r, "unix:");
	else
		strcpy(endpoint_r, "inet:");
	strcat(endpoint_r, relative ? relative : best);
	if (best[0] == '/' && !relative && !postern->output.json)
		postern_fail(postern, EX_OK,
			     "note: %s = %s is not below %s, so chrooted services of Postfix "
			     "cannot reach it (--queue-directory says where that is)",
			     key, best, queue);
	return EX_OK;
}

static void append_map(struct buf *text, const char *map, const char *endpoint)
{
	buf_printf(text, "%s = socketmap:%s:%s\n", map, endpoint, map);
}

static void append_maps(struct buf *text, const char *endpoint)
{
	static const char *const maps[] = {
		"virtual_mailbox_domains", "virtual_mailbox_maps", "virtual_alias_maps",
		"relay_domains",           "relay_recipient_maps", "transport_maps",
		"smtpd_sender_login_maps",
	};

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		append_map(text, maps[i], endpoint);
	/* Its default is $virtual_alias_maps, where any answer would claim the domain. */
	buf_puts(text, "virtual_alias_domains =\n");
}

/* Only what the preset can answer: each of them costs lookups for every message. */
static void append_routes(const struct schema *schema, struct buf *text, const char *endpoint)
{
	static const struct {
		const char *query, *map;
	} routes[] = {
		{"recipient_bcc", "recipient_bcc_maps"},
		{"sender_bcc", "sender_bcc_maps"},
		{"sender_relayhost", "sender_dependent_relayhost_maps"},
		{"smtp_tls_policy", "smtp_tls_policy_maps"},
		{"smtp_sasl_password", "smtp_sasl_password_maps"},
	};

	for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++)
		if (schema_has_query(schema, routes[i].query))
			append_map(text, routes[i].map, endpoint);
	/* Without these Postfix asks for no password, and takes no plain mechanism over TLS. */
	if (schema_has_query(schema, "smtp_sasl_password"))
		buf_puts(text, "smtp_sasl_auth_enable = yes\n"
			       "smtp_sasl_tls_security_options = noanonymous\n");
}

static void append_main_cf(const struct postern *postern, struct buf *text, const char *lookup,
			   const char *lmtp, const char *policy)
{
	append_maps(text, lookup);
	append_routes(postern->schema, text, lookup);
	buf_printf(text, "virtual_transport = lmtp:%s\n", lmtp);
	buf_printf(text, "recipient_delimiter = %s\n",
		   postern->settings.address.recipient_delimiter);
	buf_printf(text,
		   "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated,\n"
		   "    reject_unauth_destination\n"
		   "smtpd_recipient_restrictions = reject_unlisted_recipient,\n"
		   "    check_policy_service { %s, default_action=DUNNO }\n"
		   "smtpd_data_restrictions =\n"
		   "    check_policy_service { %s, default_action=DUNNO }\n",
		   policy, policy);
}

static void append_submission(struct buf *text, const char *service, const char *tls)
{
	buf_printf(text,
		   "%s inet n - y - - smtpd\n"
		   "  -o syslog_name=postfix/%s\n"
		   "  -o %s\n"
		   "  -o smtpd_sasl_auth_enable=yes\n"
		   "  -o smtpd_sasl_type=cyrus\n"
		   "  -o smtpd_sasl_path=smtpd\n"
		   "  -o smtpd_sasl_security_options=noanonymous\n"
		   "  -o smtpd_tls_auth_only=yes\n"
		   "  -o smtpd_sender_restrictions=reject_sender_login_mismatch\n"
		   "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n",
		   service, service, tls);
}

int setup_postfix(struct postern *postern, const struct arguments *arguments)
{
	const char *queue = arguments->options[QUEUE] ? arguments->options[QUEUE] : QUEUE_DIRECTORY;
	char lookup[ENDPOINT_MAX], lmtp[ENDPOINT_MAX], policy[ENDPOINT_MAX];
	const struct settings *settings = &postern->settings;
	struct setup_file files[] = {
		{"main.cf",
		 "In Postfix's main.cf; replace lines of the same names. mydestination must not\n"
		 "name any of the virtual domains. Limits are charged in\n"
		 "smtpd_data_restrictions, full mailboxes refused in\n"
		 "smtpd_recipient_restrictions; master.cf must not override these two with\n"
		 "empty values.",
		 BUF_INIT},
		{"master.cf",
		 "In master.cf, in place of its submission entries. Logins may send as\n"
		 "themselves and as the addresses that reach them (reject_sender_login_mismatch).\n"
		 "TLS needs smtpd_tls_chain_files in main.cf.",
		 BUF_INIT},
	};
	int code = postern_schema(postern);

	if (code == EX_OK)
		code = choose_endpoint(postern, "[lookup] listen", settings->lookup.listen, queue,
				       lookup);
	if (code == EX_OK)
		code = choose_endpoint(postern, "[lmtp] listen", settings->lmtp.listen, queue,
				       lmtp);
	if (code == EX_OK)
		code = choose_endpoint(postern, "[policy] listen", settings->policy.listen, queue,
				       policy);
	if (code != EX_OK)
		return code;
	append_main_cf(postern, &files[0].text, lookup, lmtp, policy);
	append_submission(&files[1].text, "submission", "smtpd_tls_security_level=encrypt");
	append_submission(&files[1].text, "submissions", "smtpd_tls_wrappermode=yes");
	return setup_print(postern, arguments->options[ONLY], files, 2);
}

/* smtpd looks for the socket from its queue directory, chrooted or not. */
static int append_saslauthd(const struct postern *postern, const char *queue, struct buf *text)
{
	char endpoint[ENDPOINT_MAX];
	int code = choose_endpoint(postern, "[auth] saslauthd", postern->settings.auth.saslauthd,
				   queue, endpoint);

	if (code != EX_OK)
		return code;
	if (strncmp(endpoint, "unix:", 5) != 0)
		return postern_fail(postern, EX_CONFIG,
				    "[auth] saslauthd: libsasl needs a Unix socket, not %s",
				    endpoint);
	buf_printf(text,
		   "pwcheck_method: saslauthd\n"
		   "saslauthd_path: %s\n"
		   "mech_list: PLAIN LOGIN\n",
		   endpoint + 5);
	return EX_OK;
}

int setup_sasl(struct postern *postern, const struct arguments *arguments)
{
	const char *queue = arguments->options[QUEUE] ? arguments->options[QUEUE] : QUEUE_DIRECTORY;
	struct setup_file file = {
		"smtpd.conf",
		"Debian: /etc/postfix/sasl/smtpd.conf; elsewhere the folder of\n"
		"cyrus_sasl_config_path, often /etc/sasl2. The plugin opens the database inside\n"
		"smtpd: if that is chrooted and the database is a file or a socket outside, set\n"
		"[auth] saslauthd, run sasl-authd, and print this again.",
		BUF_INIT,
	};
	int code = postern_settings(postern);

	if (code != EX_OK)
		return code;
	if (postern->settings.auth.saslauthd[0]) {
		file.purpose = "Debian: /etc/postfix/sasl/smtpd.conf; elsewhere the folder of\n"
			       "cyrus_sasl_config_path, often /etc/sasl2. sasl-authd must run: it\n"
			       "checks the passwords, as [auth] saslauthd is set.";
		code = append_saslauthd(postern, queue, &file.text);
		if (code != EX_OK) {
			buf_free(&file.text);
			return code;
		}
	} else {
		char *path = realpath(postern->file, NULL);

		if (!path)
			return postern_fail(postern, EX_CONFIG, "%s: %s", postern->file,
					    strerror(errno));
		buf_printf(&file.text,
			   "pwcheck_method: auxprop\n"
			   "auxprop_plugin: postern\n"
			   "mech_list: PLAIN LOGIN\n"
			   "postern_config: %s\n",
			   path);
		free(path);
	}
	return setup_print(postern, arguments->options[ONLY], &file, 1);
}
