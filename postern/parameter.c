/*
 * NAME
 *	parameter - how Postfix asks the tables of its parameters
 *
 * BUGS
 *	Local users without a domain, which Postfix also tries, have no place here.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/parameter.h"

#include <stddef.h>
#include <string.h>

static const struct parameter parameters[] = {
	{"virtual_mailbox_domains", KEYS_DOMAIN, ORDER_EXACT, USE_EXISTENCE, false},
	{"virtual_alias_domains", KEYS_DOMAIN, ORDER_EXACT, USE_EXISTENCE, false},
	{"relay_domains", KEYS_DOMAIN, ORDER_PARENTS, USE_EXISTENCE, false},
	{"virtual_mailbox_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_EXISTENCE, false},
	{"relay_recipient_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_EXISTENCE, false},
	{"virtual_alias_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_LIST, true},
	{"canonical_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_TEXT, true},
	{"sender_canonical_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_TEXT, true},
	{"recipient_canonical_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_TEXT, true},
	{"smtpd_sender_login_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_LIST, false},
	{"recipient_bcc_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_TEXT, false},
	{"sender_bcc_maps", KEYS_ADDRESS, ORDER_ADDRESS, USE_TEXT, false},
	{"sender_dependent_relayhost_maps", KEYS_ANY, ORDER_ADDRESS, USE_TEXT, false},
	{"sender_dependent_default_transport_maps", KEYS_ANY, ORDER_ADDRESS, USE_TEXT, false},
	{"transport_maps", KEYS_ANY, ORDER_TRANSPORT, USE_TEXT, false},
	{"smtp_sasl_password_maps", KEYS_ANY, ORDER_EXACT, USE_TEXT, false},
	{"smtp_tls_policy_maps", KEYS_ANY, ORDER_EXACT, USE_TEXT, false},
};

const struct parameter *parameter_find(const char *name)
{
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		if (strcmp(parameters[i].name, name) == 0)
			return &parameters[i];
	return NULL;
}
