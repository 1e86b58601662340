dist_schema_DATA = \
	%D%/extmail.ini \
	%D%/ispmail.ini \
	%D%/mail.ini \
	%D%/postfixadmin.ini \
	%D%/postfixadmin.sqlite.sql

dist_man5_MANS += %D%/postern-schema.5
EXTRA_DIST += %D%/README.md
