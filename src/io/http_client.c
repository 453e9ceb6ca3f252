/* http_client - to be written. */
typedef int not_empty_yet;
