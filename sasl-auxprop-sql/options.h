/*
 * The plugin's options, out of the application's SASL configuration (smtpd.conf). Everything is
 * copied when the plugin is loaded, before smtpd enters its chroot and drops its rights, and
 * because libsasl frees its own copies before it frees plugins.
 */
#ifndef POSTERN_SASL_OPTIONS_H
#define POSTERN_SASL_OPTIONS_H

#include <stdbool.h>

#include <sasl/sasl.h>
#include <sasl/saslplug.h>

#include "common/result.h"

enum options_kind {
	OPTIONS_NONE,   /* nobody asked for us */
	OPTIONS_CONFIG, /* postern_config: the accounts of postern.ini */
	OPTIONS_STOCK,  /* auxprop_plugin: postern, with the options of Cyrus SASL's sql plugin */
	OPTIONS_DAEMON, /* postern_saslauthd alone: no database in this process */
};

struct options {
	enum options_kind kind;
	char *config;    /* path of postern.ini */
	char *saslauthd; /* path of a socket that verifies PLAIN and LOGIN; "" = verify here */
	char *password_scheme; /* of stored values without prefix; OPTIONS_STOCK only */
	struct {
		char *driver; /* "mysql" or "sqlite" */
		char *hosts;  /* blank separated */
		char *user, *password, *database, *select;
		bool tls;
	} stock;
};

/*
 * FOUND: ours is asked for. NONE: it is not; OPTIONS_R is empty. PERM: it is, but the options
 * cannot work; the text names the option and what to do. TEMP: out of memory. Free after any.
 */
enum result options_read(const sasl_utils_t *utils, struct options *options_r,
			 struct error *err) MUST_CHECK;
void options_free(struct options *options);

#endif
