"""A private mail host for tests: real Postfix, MariaDB, Dovecot, and our daemons, on loopback."""

import os

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# The programs under test, and the plugin: a plugin with a sanitizer cannot live in a stock smtpd.
BUILD = os.path.abspath(os.environ.get("POSTERN_BUILD", os.path.join(TOP, "build")))
PLUGIN_BUILD = os.path.abspath(os.environ.get("POSTERN_PLUGIN_BUILD", BUILD))
