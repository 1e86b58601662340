dist_schema_DATA = \
	%D%/extmail.ini \
	%D%/iredmail.ini \
	%D%/ispmail.ini \
	%D%/mail.ini \
	%D%/postfixadmin.ini \
	%D%/postfixadmin.sqlite.sql \
	%D%/vimbadmin.ini

dist_man5_MANS += %D%/postern-schema.5
EXTRA_DIST += %D%/README.md
