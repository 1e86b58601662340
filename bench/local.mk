# The yardstick of scripts/bench; it is built with everything else so that it cannot rot.
noinst_PROGRAMS += %D%/null_socketmap
%C%_null_socketmap_SOURCES = %D%/null_socketmap.c
%C%_null_socketmap_LDADD =

EXTRA_DIST += %D%/README.md %D%/lookup.py %D%/sides.py
